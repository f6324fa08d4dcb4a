// Prints what AWS's validator has to say about a template, one finding a line, and ends with 1 when there is one.
import { RegoEngine, TemplateFile } from "@aws/cloudformation-validate";

const template = process.argv[2];
const engine = new RegoEngine();
const report = engine.validateStandard(new TemplateFile(template), {
  severityLevel: "WARN",
  // It takes the name of a public parameter for the image that the parameter names.
  exclude: { ids: ["E1152"] },
});
for (const { severity, ruleId, startLine, message } of report.diagnostics) {
  console.log(`${template}:${startLine}: ${severity} ${ruleId}: ${message}`);
}
engine.free();
process.exitCode = report.diagnostics.length === 0 ? 0 : 1;

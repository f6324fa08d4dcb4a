package check

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
)

// TestTerraformFormat wants every file as "terraform fmt" would leave it.
func TestTerraformFormat(t *testing.T) {
	files := terraformFiles(t, deploy("terraform"), deploy("terraform", "tests"), deploy("terraform", "examples", "transitive-peering"))
	for _, path := range files {
		text := []byte(read(t, path))
		if !bytes.Equal(hclwrite.Format(text), text) {
			t.Errorf("%s is not formatted: terraform fmt -recursive deploy/terraform", path)
		}
	}
}

// TestTerraformReferences wants what "terraform validate" wants and can be had without the AWS provider: every name that
// is used is declared, every variable is used, and a module gets what it asks for and nothing else.
func TestTerraformReferences(t *testing.T) {
	module := loadModule(t, deploy("terraform"))
	example := loadModule(t, deploy("terraform", "examples", "transitive-peering"))
	module.check(t)
	example.check(t)

	given := example.arguments["module.relay"]
	for name, required := range module.variables {
		if required && !slices.Contains(given, name) {
			t.Errorf("the example does not set %s, which the module requires", name)
		}
	}
	for _, name := range given {
		if _, declared := module.variables[name]; !declared && !slices.Contains([]string{"source", "depends_on"}, name) {
			t.Errorf("the example sets %s, which the module does not know", name)
		}
	}
	for name := range example.used {
		if output, ok := strings.CutPrefix(name, "module.relay."); ok && !module.declared["output."+output] {
			t.Errorf("the example uses the output %s, which the module does not have", output)
		}
	}
}

// tfModule is one folder of Terraform files.
type tfModule struct {
	path      string
	declared  map[string]bool     // "var.name", "local.name", "data.type.name", "type.name", "module.name", "output.name"
	used      map[string]bool     // the same, as expressions name them, and "module.name.output"
	variables map[string]bool     // the variables, and whether each is required
	arguments map[string][]string // of each module call
}

func loadModule(t *testing.T, path string) tfModule {
	t.Helper()
	module := tfModule{path, map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string][]string{}}
	for _, file := range terraformFiles(t, path) {
		parsed, problems := hclsyntax.ParseConfig([]byte(read(t, file)), file, hcl.InitialPos)
		if problems.HasErrors() {
			t.Fatalf("parse: %v", problems)
		}
		for _, block := range parsed.Body.(*hclsyntax.Body).Blocks {
			module.declare(block)
			module.use(block.Body)
		}
	}
	return module
}

// declare notes what a block at the top of a file makes known.
func (m tfModule) declare(block *hclsyntax.Block) {
	switch block.Type {
	case "variable":
		_, optional := block.Body.Attributes["default"]
		m.variables[block.Labels[0]] = !optional
		m.declared["var."+block.Labels[0]] = true
	case "locals":
		for name := range block.Body.Attributes {
			m.declared["local."+name] = true
		}
	case "resource":
		m.declared[strings.Join(block.Labels, ".")] = true
	case "module":
		m.declared["module."+block.Labels[0]] = true
		for name := range block.Body.Attributes {
			m.arguments["module."+block.Labels[0]] = append(m.arguments["module."+block.Labels[0]], name)
		}
	default:
		m.declared[strings.Join(append([]string{block.Type}, block.Labels...), ".")] = true
	}
}

// use notes every name in the expressions of a body. Names that a "for" makes are not among them.
func (m tfModule) use(body *hclsyntax.Body) {
	for name, attribute := range body.Attributes {
		if name == "ignore_changes" {
			continue // it names arguments of its own resource
		}
		for _, traversal := range attribute.Expr.Variables() {
			m.used[reference(traversal)] = true
		}
	}
	for _, block := range body.Blocks {
		m.use(block.Body)
	}
}

// reference writes as much of a traversal as names something: var.x, data.type.name, type.name, module.name.output.
func reference(traversal hcl.Traversal) string {
	parts := []string{traversal.RootName()}
	length := 2
	if slices.Contains([]string{"data", "module"}, parts[0]) {
		length = 3
	}
	for _, step := range traversal[1:] {
		attribute, ok := step.(hcl.TraverseAttr)
		if !ok || len(parts) == length {
			break
		}
		parts = append(parts, attribute.Name)
	}
	return strings.Join(parts, ".")
}

// check compares what is used with what is declared.
func (m tfModule) check(t *testing.T) {
	t.Helper()
	for name := range m.used {
		root, _, _ := strings.Cut(name, ".")
		switch root {
		case "each", "self", "path", "count", "string", "number", "bool":
			// Made by Terraform itself; the last three are types.
		case "module":
			if call := name[:strings.LastIndexByte(name, '.')]; !m.declared[call] {
				t.Errorf("%s: %s is not declared", m.path, call)
			}
		default:
			if !m.declared[name] {
				t.Errorf("%s: %s is not declared", m.path, name)
			}
		}
	}
	for name := range m.variables {
		if !m.used["var."+name] {
			t.Errorf("%s: the variable %s is not used", m.path, name)
		}
	}
}

// terraformFiles lists the files of the folders.
func terraformFiles(t *testing.T, folders ...string) []string {
	t.Helper()
	var files []string
	for _, folder := range folders {
		entries, err := os.ReadDir(folder)
		if err != nil {
			t.Fatalf("list %s: %v", folder, err)
		}
		for _, entry := range entries {
			if strings.HasSuffix(entry.Name(), ".tf") || strings.HasSuffix(entry.Name(), ".hcl") {
				files = append(files, filepath.Join(folder, entry.Name()))
			}
		}
	}
	if len(files) == 0 {
		t.Fatalf("no Terraform files in %v", folders)
	}
	return files
}

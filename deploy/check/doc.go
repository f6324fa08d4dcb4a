// Package check holds the checks of what stands beside it in deploy/: the user-data script at work in a Debian root
// of its own, the copies of the script in cloud-config and template, the CloudFormation template and the Terraform
// module. It has tests only, and is a module of its own so that what it needs is no dependency of natd. Run it with
// "make deploy-check".
package check

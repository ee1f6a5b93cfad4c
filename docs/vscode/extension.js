// Starts the language server of netboot-loaders for iPXE scripts.
const { workspace } = require("vscode");
const { LanguageClient } = require("vscode-languageclient/node");

let client;

exports.activate = () => {
  const [command, ...args] = workspace.getConfiguration("ipxe").get("command");
  const server = { command, args };
  client = new LanguageClient("ipxe", "iPXE scripts", server, { documentSelector: [{ language: "ipxe" }] });
  return client.start();
};

exports.deactivate = () => client && client.stop();

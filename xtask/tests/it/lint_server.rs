//! `lint --lsp` serves an editor: findings after each change, completion, descriptions, and the way to a label.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use netboot_fixtures::project::Project;
use serde_json::{Value, json};

netboot_fixtures::tests! {
    an_editor_is_told_of_findings_after_each_change,
    an_editor_is_told_what_can_stand_and_what_stands_at_a_place,
    an_editor_that_goes_away_ends_the_server,
    an_interrupt_ends_the_server,
}

const FILE: &str = "file:///boot.ipxe";

/// An editor, as far as a server can see one.
struct Editor {
    server: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    next: i64,
}

impl Editor {
    fn start(project: &Project, more: &[&str]) -> Self {
        let mut command = project.command([&["lint", "--lsp"], more].concat());
        let mut server = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (input, output) = (server.stdin.take(), BufReader::new(server.stdout.take().unwrap()));
        let mut editor = Self { server, input, output, next: 1 };
        let answer = editor.ask("initialize", &json!({ "capabilities": {}, "processId": null, "rootUri": null }));
        assert_eq!(answer["capabilities"]["hoverProvider"], true, "{answer}");
        editor.tell("initialized", &json!({}));
        editor
    }

    fn send(&mut self, message: &Value) {
        let text = message.to_string();
        write!(self.input.as_mut().unwrap(), "Content-Length: {}\r\n\r\n{text}", text.len()).unwrap();
        self.input.as_mut().unwrap().flush().unwrap();
    }

    fn receive(&mut self) -> Value {
        let mut length = 0;
        loop {
            let mut line = String::new();
            assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "the server ended");
            match line.trim_end().split_once(": ") {
                Some(("Content-Length", value)) => length = value.parse().unwrap(),
                Some(_) => {}
                None => break,
            }
        }
        let mut body = vec![0; length];
        self.output.read_exact(&mut body).unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    fn tell(&mut self, method: &str, params: &Value) {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    fn ask(&mut self, method: &str, params: &Value) -> Value {
        let id = self.next;
        self.next += 1;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        let answer = self.receive();
        assert_eq!(answer["id"], id, "{answer}");
        answer.get("result").or(answer.get("error")).cloned().unwrap()
    }

    /// Asks about a place, counted from 0.
    fn ask_at(&mut self, method: &str, line: u64, character: u64) -> Value {
        let position = json!({ "line": line, "character": character });
        self.ask(method, &json!({ "textDocument": { "uri": FILE }, "position": position }))
    }

    /// Opens or changes the document, and returns the findings.
    fn write(&mut self, version: i64, text: &str) -> Value {
        if version == 1 {
            let document = json!({ "uri": FILE, "languageId": "ipxe", "version": 1, "text": text });
            self.tell("textDocument/didOpen", &json!({ "textDocument": document }));
        } else {
            let document = json!({ "uri": FILE, "version": version });
            let changes = json!([{ "text": text }]);
            self.tell("textDocument/didChange", &json!({ "textDocument": document, "contentChanges": changes }));
        }
        let published = self.receive();
        assert_eq!(published["method"], "textDocument/publishDiagnostics", "{published}");
        assert_eq!((&published["params"]["uri"], &published["params"]["version"]), (&FILE.into(), &version.into()));
        published["params"]["diagnostics"].clone()
    }

    /// Ends the server as editors do.
    fn end(mut self) {
        assert_eq!(self.ask("shutdown", &Value::Null), Value::Null);
        self.tell("exit", &Value::Null);
        assert!(self.server.wait().unwrap().success());
    }
}

fn an_editor_is_told_of_findings_after_each_change() {
    let project = Project::cold();
    let mut editor = Editor::start(&project, &[]);
    let findings = editor.write(1, "#!ipxe\necho ü\u{1d11e} && wgett x\n");
    assert_eq!((findings[0]["code"].as_str(), findings[0]["severity"].as_u64()), (Some("unknown-command"), Some(1)));
    let range = json!({ "start": { "line": 1, "character": 12 }, "end": { "line": 1, "character": 17 } });
    assert_eq!(findings[0]["range"], range, "{findings}");
    assert_eq!(editor.write(2, "#!ipxe\necho x\n"), json!([]));
    // The same as on the command line: what the platform and the version lack.
    editor.end();
    let mut editor = Editor::start(&project, &["--for", "bios", "--ipxe", "1.21.1"]);
    let findings = editor.write(1, "#!ipxe\nconsole --x 5 ||\niflinkwait ||\n");
    let codes: Vec<&str> = findings.as_array().unwrap().iter().filter_map(|it| it["code"].as_str()).collect();
    assert_eq!(codes, ["missing-feature", "version-difference"]);
    editor.tell("textDocument/didClose", &json!({ "textDocument": { "uri": FILE } }));
    assert_eq!(editor.receive()["params"]["diagnostics"], json!([]));
    editor.end();
}

fn an_editor_is_told_what_can_stand_and_what_stands_at_a_place() {
    let project = Project::cold();
    let mut editor = Editor::start(&project, &[]);
    editor.write(1, "#!ipxe\nchain --aut x ||\ngoto end\n:end\necho ${net0/ma\n");
    let offered = editor.ask_at("textDocument/completion", 1, 11);
    assert_eq!((&offered[0]["label"], &offered[1]), (&"--autofree".into(), &Value::Null), "{offered}");
    assert_eq!(offered[0]["textEdit"]["range"]["start"], json!({ "line": 1, "character": 6 }));
    let offered = editor.ask_at("textDocument/completion", 4, 14);
    assert_eq!(offered[0]["label"], "mac", "{offered}");
    let described = editor.ask_at("textDocument/hover", 1, 2);
    assert!(described["contents"]["value"].as_str().unwrap().starts_with("`chain` fetches an image and executes it."));
    let found = editor.ask_at("textDocument/definition", 2, 6);
    assert_eq!(found["range"]["start"], json!({ "line": 3, "character": 0 }), "{found}");
    assert_eq!(editor.ask_at("textDocument/definition", 0, 0), Value::Null);
    assert!(editor.ask_at("textDocument/rename", 0, 0)["message"].as_str().unwrap().contains("is not served"));
    // A document that nobody has opened.
    let params = json!({ "textDocument": { "uri": "file:///x" }, "position": { "line": 0, "character": 0 } });
    assert_eq!(editor.ask("textDocument/hover", &params), Value::Null);
    editor.end();
}

fn an_editor_that_goes_away_ends_the_server() {
    let project = Project::cold();
    let mut editor = Editor::start(&project, &[]);
    editor.write(1, "#!ipxe\nshell\n");
    drop(editor.input.take());
    editor.server.wait().unwrap();
    let mut editor = Editor::start(&project, &[]);
    write!(editor.input.as_mut().unwrap(), "Content-Length: x\r\n\r\n").unwrap();
    drop(editor.input.take());
    assert!(!editor.server.wait().unwrap().success());
}

fn an_interrupt_ends_the_server() {
    let project = Project::cold();
    let mut editor = Editor::start(&project, &[]);
    let pid = editor.server.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert_eq!(editor.server.wait().unwrap().code(), Some(130));
}

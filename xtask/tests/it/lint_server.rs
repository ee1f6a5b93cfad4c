//! `lint --lsp` serves an editor: findings after each change, completion, descriptions, and the way to a label.

use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Read as _, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use netboot_fixtures::limits::{self, Measured};
use netboot_fixtures::project::Project;
use serde_json::{Value, json};

netboot_fixtures::tests! {
    an_editor_is_told_of_findings_after_each_change,
    an_editor_is_told_what_can_stand_and_what_stands_at_a_place,
    an_editor_that_goes_away_ends_the_server,
    an_interrupt_ends_the_server,
    an_interrupt_ends_the_server_of_an_editor_that_does_not_read,
    what_an_editor_announces_takes_no_memory,
    many_settings_and_many_changes_take_no_time,
    ; slow:
    documents_are_read_within_limits,
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

fn an_interrupt_ends_the_server_of_an_editor_that_does_not_read() {
    let project = Project::cold();
    let mut editor = Editor::start(&project, &[]);
    editor.write(1, "#!ipxe\nimg\n");
    let mut input = editor.input.take().unwrap();
    let position = json!({ "textDocument": { "uri": FILE }, "position": { "line": 1, "character": 3 } });
    let request = json!({ "jsonrpc": "2.0", "id": 5, "method": "textDocument/completion", "params": position });
    let writer = std::thread::spawn(move || while write_frame(&mut input, request.to_string().as_bytes()).is_ok() {});
    std::thread::sleep(Duration::from_secs(1));
    let (pid, begun) = (editor.server.id().to_string(), Instant::now());
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let status = loop {
        if let Some(status) = editor.server.try_wait().unwrap() {
            break status;
        }
        if begun.elapsed() > Duration::from_secs(5) {
            editor.server.kill().unwrap();
            panic!("the server does not end");
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(status.code(), Some(130));
    writer.join().unwrap();
}

fn write_frame(output: &mut impl Write, body: &[u8]) -> std::io::Result<()> {
    write!(output, "Content-Length: {}\r\n\r\n", body.len())?;
    output.write_all(body)
}

/// Runs a server that reads `frames` after the start of an editor, and then `rest`.
fn serve(project: &Project, frames: &[Vec<u8>], rest: &[u8]) -> Measured {
    let initialize = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": { "capabilities": {} } });
    let mut file = BufWriter::new(File::create(project.path("input")).unwrap());
    for body in [initialize.to_string().into_bytes()].iter().chain(frames) {
        write_frame(&mut file, body).unwrap();
    }
    file.write_all(rest).unwrap();
    drop(file);
    let server = project.command(["lint", "--lsp"]);
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "exec \"$@\" < \"$0\""]).arg(project.path("input"));
    command.arg(server.get_program()).args(server.get_args());
    command.envs(server.get_envs().filter_map(|(name, value)| Some((name, value?))));
    limits::measure(&mut command).assert_memory_limit()
}

fn opened(uri: &str, text: &str) -> Vec<u8> {
    let document = json!({ "uri": uri, "languageId": "ipxe", "version": 1, "text": text });
    let params = json!({ "textDocument": document });
    json!({ "jsonrpc": "2.0", "method": "textDocument/didOpen", "params": params }).to_string().into_bytes()
}

fn what_an_editor_announces_takes_no_memory() {
    let project = Project::cold();
    for (rest, wanted) in [
        ("Content-Length: 3000000000\r\n\r\n{}".to_owned(), ""),
        ("Content-Length: 18446744073709551615\r\n\r\n{}".to_owned(), ""),
        ("X".repeat(5_000_000), "found a message whose head has more than 4096 bytes\n"),
        ("X: y\r\n".repeat(5_000_000), "found a message whose head has more than 4096 bytes\n"),
        ("Content-Length: 12\r\n\r\n\"a\\u001bbcd\"".to_owned(), "invalid type: string"),
    ] {
        let ran = serve(&project, &[], rest.as_bytes());
        assert_eq!(ran.status.code(), Some(i32::from(!wanted.is_empty())), "{}", ran.stderr);
        assert!(
            ran.stderr.contains(wanted) && ran.stderr.len() < 500 && !ran.stderr.contains('\u{1b}'),
            "{}",
            ran.stderr
        );
    }
    let deep = format!("{{\"method\":\"x\",\"params\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let ran = serve(&project, &[deep.into_bytes()], b"");
    assert!(ran.status.code() == Some(1) && ran.stderr.len() < 500, "{}", ran.stderr);
}

fn many_settings_and_many_changes_take_no_time() {
    let project = Project::cold();
    let mut editor = Editor::start(&project, &[]);
    let settings = (0..33_000).map(|number| format!("set s{number} 1\n")).collect::<String>();
    editor.write(1, &format!("#!ipxe\n{settings}echo ${{s"));
    let begun = Instant::now();
    let offered = editor.ask_at("textDocument/completion", 33_001, 8);
    assert_eq!((&offered["isIncomplete"], offered["items"].as_array().unwrap().len()), (&true.into(), 1000));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let lines = format!("#!ipxe\n{}", "\n".repeat(2_000_000));
    editor.write(2, &lines);
    let end = json!({ "line": 2_000_000, "character": 0 });
    let change = json!({ "range": { "start": end, "end": end }, "text": "" });
    let document = json!({ "uri": FILE, "version": 3 });
    for (count, refused) in [(100, false), (101, true)] {
        let changes = json!({ "textDocument": document, "contentChanges": vec![change.clone(); count] });
        editor.tell("textDocument/didChange", &changes);
        assert_eq!(editor.receive()["params"]["version"], 3);
        if refused {
            let logged = editor.receive()["params"]["message"].as_str().unwrap().to_owned();
            assert!(logged.ends_with("is not checked: it has more than 100 changes at once"), "{logged}");
        }
    }
    editor.end();
}

fn documents_are_read_within_limits() {
    let project = Project::cold();
    let array = |of: &str, bytes: usize| {
        let items = vec![of; bytes / (of.len() + 1)].join(",");
        format!("{{\"id\":2,\"method\":\"x\",\"params\":[{items}]}}").into_bytes()
    };
    let mut frames = vec![array("1", 40_000_000), array("1", 8_000_000), array("{\"a\":1}", 500_000)];
    frames.push(opened("file:///large", &"#".repeat(120_000_000)));
    frames.push(opened("file:///x", &"#".repeat(2_100_000)));
    frames.push(opened("file:///words", &"x\n".repeat(100_001)));
    frames.extend((0..40).map(|number| opened(&format!("file:///{number}"), &"#".repeat(2_000_000))));
    frames.push(opened("file:///last", &format!("#!ipxe\n{}", "dhcp\n".repeat(99_000))));
    frames.push(opened("file:///0", &format!("#!ipxe\n{}", "dhcp\n".repeat(99_000))));
    frames.push(array("{\"a\":1}", 500_000));
    let changes = vec![json!({ "text": "" }); 600_000];
    let changes = json!({ "textDocument": { "uri": "file:///0", "version": 2 }, "contentChanges": changes });
    frames.push(json!({ "method": "textDocument/didChange", "params": changes }).to_string().into_bytes());
    let ran = serve(&project, &frames, b"");
    assert!(ran.status.success(), "{}", ran.stderr);
    for wanted in [
        "ignored a message of 40000032 bytes, wanted at most 8388608\"",
        "bytes, wanted at most 524288\"",
        "`file:///x` is not checked: it has more than 2097152 bytes\"",
        "`file:///words` is not checked: it has more than 100000 words\"",
        "`file:///39` is not checked: more than 1000 documents, or 33554432 bytes of all, are open\"",
        "is not checked: it has more than 100 changes at once\"",
    ] {
        assert!(ran.stdout.contains(wanted), "{wanted}: {}", &ran.stdout[..2000]);
    }
}

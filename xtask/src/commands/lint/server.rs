//! A language server for iPXE scripts: findings, completion, descriptions, and the way from `goto` to its label.
//!
//! Positions of the protocol are lines and UTF-16 code units, both counted from 0. A document is sent as a whole with
//! each change: scripts are short, and the linter takes less than a millisecond for one.

use std::collections::HashMap;
use std::time::Duration;

use lsp_server::{Connection, Message, Notification, Request, Response};
use netboot_loaders::base::diagnostic::Class;
use netboot_loaders::base::fs::MAX_TEXT;
use netboot_loaders::base::progress::Progress;
use netboot_loaders::lint::{LintBuild, lint_for};
use netboot_script::editor::{Completion, CompletionKind, completions, definition, hover};
use netboot_script::syntax::Span;
use netboot_script::{Finding, LintTarget, ParsedScript, Severity, Templates};
use serde_json::{Value, json};

use super::message;
use crate::exit::Failure;

/// Maximum number of documents that are open at the same time.
const MAX_DOCUMENTS: usize = 1000;

/// Time after which the server looks whether it has been interrupted.
const PATIENCE: Duration = Duration::from_millis(200);

/// Serves an editor until it asks to end, or goes away, or until `progress` is cancelled.
pub(super) fn run(target: &LintTarget, builds: &[LintBuild], progress: &dyn Progress) -> Result<(), Failure> {
    let (connection, threads) = Connection::stdio();
    let served = Server { target, builds, documents: HashMap::new() }.serve(&connection, progress);
    if progress.cancelled() {
        // The threads wait for the editor, and end with the program.
        return Err(Failure::interrupted());
    }
    // The thread that writes ends when nothing can be sent any more.
    drop(connection);
    let failed =
        |error: String| Failure::new(Class::Failure, format!("cannot talk to the editor\n  caused by: {error}"));
    served.map_err(failed)?;
    threads.join().map_err(|error| failed(error.to_string()))
}

struct Server<'a> {
    target: &'a LintTarget,
    builds: &'a [LintBuild],
    /// The text of each open document, by its address.
    documents: HashMap<String, String>,
}

impl Server<'_> {
    fn serve(mut self, connection: &Connection, progress: &dyn Progress) -> Result<(), String> {
        let running = || !progress.cancelled();
        let (id, _) = connection.initialize_start_while(running).map_err(|error| error.to_string())?;
        let answer = json!({
            "capabilities": {
                "textDocumentSync": { "openClose": true, "change": 1 },
                "completionProvider": { "triggerCharacters": ["-", "$", "{", "/", ":", " "] },
                "hoverProvider": true,
                "definitionProvider": true,
            },
            "serverInfo": { "name": "netboot-loaders", "version": env!("CARGO_PKG_VERSION") },
        });
        connection.initialize_finish(id, answer).map_err(|error| error.to_string())?;
        while running() {
            let message = match connection.receiver.recv_timeout(PATIENCE) {
                Ok(message) => message,
                Err(error) if error.is_timeout() => continue,
                Err(_) => return Ok(()),
            };
            let answer = match message {
                Message::Request(request) => {
                    if connection.handle_shutdown(&request).map_err(|error| error.to_string())? {
                        return Ok(());
                    }
                    Some(Message::Response(self.answer(request)))
                }
                Message::Notification(notification) => self.note(&notification).map(Message::Notification),
                Message::Response(_) => None,
            };
            if let Some(answer) = answer
                && connection.sender.send(answer).is_err()
            {
                return Ok(());
            }
        }
        Ok(())
    }

    fn answer(&self, request: Request) -> Response {
        let result = match request.method.as_str() {
            "textDocument/completion" => self.at(&request.params).map(|(text, at)| completion(text, at)),
            "textDocument/hover" => self.at(&request.params).map(|(text, at)| description(text, at)),
            "textDocument/definition" => {
                let uri = &request.params["textDocument"]["uri"];
                self.at(&request.params).map(|(text, at)| place(text, at, uri))
            }
            method => {
                let code = lsp_server::ErrorCode::MethodNotFound as i32;
                return Response::new_err(request.id, code, format!("`{method}` is not served"));
            }
        };
        Response::new_ok(request.id, result.unwrap_or(Value::Null))
    }

    /// Returns the document of a request, and the byte that it asks about.
    fn at(&self, params: &Value) -> Option<(&str, usize)> {
        let text = self.documents.get(params["textDocument"]["uri"].as_str()?)?;
        let position = &params["position"];
        Some((text, offset(text, position["line"].as_u64()?, position["character"].as_u64()?)))
    }

    /// Takes note of a change of a document, and returns its findings.
    fn note(&mut self, notification: &Notification) -> Option<Notification> {
        let document = &notification.params["textDocument"];
        let uri = document["uri"].as_str()?.to_owned();
        let text = match notification.method.as_str() {
            "textDocument/didOpen" => document["text"].as_str()?.to_owned(),
            "textDocument/didChange" => {
                let changes = notification.params["contentChanges"].as_array()?;
                changed(self.documents.get(&uri).cloned().unwrap_or_default(), changes)?
            }
            "textDocument/didClose" => {
                self.documents.remove(&uri);
                return Some(published(&uri, &Value::Null, &[]));
            }
            _ => return None,
        };
        if text.len() as u64 > MAX_TEXT || self.documents.len() >= MAX_DOCUMENTS && !self.documents.contains_key(&uri) {
            self.documents.remove(&uri);
            return Some(published(&uri, &document["version"], &[]));
        }
        let script = ParsedScript::parse(&text, Templates::Opaque);
        let findings = lint_for(&script, self.target, self.builds);
        let mut cursor = Cursor::new(&text);
        let diagnostics: Vec<Value> = findings.iter().map(|finding| diagnostic(&mut cursor, finding)).collect();
        let published = published(&uri, &document["version"], &diagnostics);
        self.documents.insert(uri, text);
        Some(published)
    }
}

/// Applies `changes` to `text` in order. Some editors send ranges, although the server asks for whole documents.
fn changed(mut text: String, changes: &[Value]) -> Option<String> {
    for change in changes {
        let new = change["text"].as_str()?;
        let at = |end: &str| {
            let position = &change["range"][end];
            Some(offset(&text, position["line"].as_u64()?, position["character"].as_u64()?))
        };
        match (at("start"), at("end")) {
            (Some(start), Some(end)) if start <= end => text.replace_range(start..end, new),
            _ => new.clone_into(&mut text),
        }
    }
    (!changes.is_empty()).then_some(text)
}

fn published(uri: &str, version: &Value, diagnostics: &[Value]) -> Notification {
    let mut params = json!({ "uri": uri, "diagnostics": diagnostics });
    if version.is_i64() {
        params["version"] = version.clone();
    }
    Notification::new("textDocument/publishDiagnostics".to_owned(), params)
}

fn diagnostic(cursor: &mut Cursor<'_>, finding: &Finding) -> Value {
    let severity = match finding.severity {
        Severity::Error => 1,
        Severity::Warning => 2,
        Severity::Note => 3,
    };
    json!({
        "range": cursor.range(finding.span),
        "severity": severity,
        "code": finding.rule.id(),
        "source": "ipxe",
        "message": format!("{}; {}", message(finding), finding.remedy),
    })
}

fn completion(text: &str, at: usize) -> Value {
    let item = |it: Completion| {
        let kind = match it.kind {
            CompletionKind::Command => 3,
            CompletionKind::Option => 5,
            CompletionKind::Setting => 6,
            CompletionKind::Type => 25,
            CompletionKind::Label => 18,
        };
        let edit = json!({ "range": range(text, it.replaces), "newText": it.text });
        json!({ "label": it.text, "kind": kind, "detail": it.detail, "textEdit": edit })
    };
    completions(text, at).into_iter().map(item).collect()
}

fn description(text: &str, at: usize) -> Value {
    let script = ParsedScript::parse(text, Templates::Opaque);
    match hover(&script, at) {
        Some(found) => json!({
            "contents": { "kind": "markdown", "value": found.text },
            "range": range(text, found.span),
        }),
        None => Value::Null,
    }
}

fn place(text: &str, at: usize, uri: &Value) -> Value {
    let script = ParsedScript::parse(text, Templates::Opaque);
    match definition(&script, at) {
        Some(span) => json!({ "uri": uri, "range": range(text, span) }),
        None => Value::Null,
    }
}

fn range(text: &str, span: Span) -> Value {
    Cursor::new(text).range(span)
}

/// A place in a text that goes forward, because a document has thousands of findings and can be a single line.
#[derive(Clone, Copy)]
struct Cursor<'t> {
    text: &'t str,
    at: usize,
    line: usize,
    character: usize,
}

impl<'t> Cursor<'t> {
    fn new(text: &'t str) -> Self {
        Self { text, at: 0, line: 0, character: 0 }
    }

    /// Goes forward to the byte `at`.
    fn to(mut self, at: usize) -> Self {
        let passed = self.text.get(self.at..at).unwrap_or_default();
        self.line += passed.matches('\n').count();
        let start = passed.rfind('\n').map(|end| end + 1);
        self.character = passed[start.unwrap_or(0)..].encode_utf16().count() + start.map_or(self.character, |_| 0);
        Self { at: self.at + passed.len(), ..self }
    }

    /// Goes forward to the start of `span`, or again from the start of the text, and returns its range.
    fn range(&mut self, span: Span) -> Value {
        *self = if span.start < self.at { Self::new(self.text) } else { *self }.to(span.start);
        json!({ "start": self.position(), "end": self.to(span.end).position() })
    }

    fn position(self) -> Value {
        json!({ "line": self.line, "character": self.character })
    }
}

/// Returns the byte at a position; the end of the line if it is shorter.
fn offset(text: &str, line: u64, character: u64) -> usize {
    let mut start = 0;
    for _ in 0..line {
        match text[start..].find('\n') {
            Some(end) => start += end + 1,
            None => return text.len(),
        }
    }
    let line = text[start..].split('\n').next().unwrap_or_default();
    let mut left = character;
    for (at, c) in line.char_indices() {
        if left == 0 {
            return start + at;
        }
        left = left.saturating_sub(c.len_utf16() as u64);
    }
    start + line.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_applied_in_order() {
        let range = |line, start, end| {
            json!({
                "start": { "line": line, "character": start },
                "end": { "line": line, "character": end },
            })
        };
        let changes = [
            json!({ "text": "a\nb\u{1d11e}c\n" }),
            json!({ "range": range(1, 1, 3), "text": "xy" }),
            json!({ "range": range(0, 1, 9), "text": "z" }),
        ];
        assert_eq!(changed("old".to_owned(), &changes).as_deref(), Some("az\nbxyc\n"));
        assert_eq!((changed(String::new(), &[]), changed(String::new(), &[json!({})])), (None, None));
    }

    #[test]
    fn positions_count_code_units() {
        let text = "a\u{1d11e}b\nüc";
        for (at, line, character) in [(0, 0, 0), (5, 0, 3), (6, 0, 4), (7, 1, 0), (9, 1, 1), (10, 1, 2)] {
            assert_eq!(Cursor::new(text).to(at).position(), json!({ "line": line, "character": character }), "{at}");
            let place = json!({ "line": line, "character": character });
            let mut cursor = Cursor::new(text).to(5);
            assert_eq!(cursor.range(Span { start: at, end: text.len() })["start"], place, "{at}");
            assert_eq!(offset(text, line, character), at);
        }
        assert_eq!((offset(text, 0, 99), offset(text, 9, 0), offset("", 0, 5)), (6, text.len(), 0));
    }
}

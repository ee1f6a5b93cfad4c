//! A language server for iPXE scripts: findings, completion, descriptions, and the way from `goto` to its label.
//!
//! Positions of the protocol are lines and UTF-16 code units, both counted from 0. A document is sent as a whole with
//! each change: scripts are short, and the linter takes less than a millisecond for one.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, Write};
use std::os::fd::AsFd as _;

use netboot_loaders::base::diagnostic::{Class, shortened};
use netboot_loaders::base::fs::MAX_TEXT;
use netboot_loaders::base::parallel;
use netboot_loaders::base::progress::Progress;
use netboot_loaders::lint::{FindingTexts, LintBuild, MAX_WORDS, lint_for};
use netboot_loaders::printable::printable;
use netboot_script::editor::{Completion, CompletionKind, MAX_COMPLETIONS, completions, definition, hover};
use netboot_script::syntax::{Span, count_words};
use netboot_script::{Finding, LintTarget, ParsedScript, Severity, Templates};
use serde::Deserialize;
use serde_json::{Value, json};

use super::frames::{self, MAX_BODY, Received};
use crate::exit::Failure;

/// Maximum number of documents that are open at the same time, and of their bytes with their addresses.
const MAX_DOCUMENTS: (usize, usize) = (1000, 32 << 20);

/// Maximum number of bytes of a request. Only documents are larger.
const MAX_REQUEST: usize = 512 << 10;

/// Maximum number of changes in a message: each takes a look at the whole document.
const MAX_CHANGES: usize = 100;

/// Maximum number of findings of a document; nobody reads more.
const MAX_DIAGNOSTICS: usize = 1000;

/// Number of characters to show of an error in a message of the editor.
const MAX_ERROR: usize = 200;

/// Codes of errors in the protocol.
const INVALID_REQUEST: i32 = -32600;
const METHOD_NOT_FOUND: i32 = -32601;
const SERVER_NOT_INITIALIZED: i32 = -32002;

/// Serves an editor until it asks to end, or goes away, or until `progress` is cancelled.
pub(super) fn run(target: LintTarget, builds: Vec<LintBuild>, progress: &dyn Progress) -> Result<(), Failure> {
    let server = Server { target, builds, documents: HashMap::new(), stage: Stage::New };
    let serve = move || {
        // Nothing else waits for this file if the editor does not read.
        let output = io::stdout().as_fd().try_clone_to_owned().map(File::from);
        let output = output.map_err(|error| error.to_string())?;
        server.serve(&mut io::stdin().lock(), &mut io::BufWriter::new(output))
    };
    let served = parallel::detached_on_cancel(progress, serve).ok_or_else(Failure::interrupted)?;
    served.map_err(|error| {
        // An error repeats what an editor has sent.
        let start: String = error.chars().take(MAX_ERROR).collect();
        let text = format!("cannot talk to the editor\n  caused by: {}", printable(&start));
        Failure::new(Class::Failure, text)
    })
}

struct Server {
    target: LintTarget,
    builds: Vec<LintBuild>,
    /// The text of each open document, by its address.
    documents: HashMap<String, String>,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing but `initialize` is served.
    New,
    Running,
    /// Nothing but `exit` is served.
    ShutDown,
    Ended,
}

/// The method of a message. What else it contains is not kept.
#[derive(Deserialize)]
struct Head {
    method: Option<String>,
}

#[derive(Deserialize)]
struct Request {
    id: Option<Value>,
    #[serde(default)]
    params: Value,
}

/// A notification about a document.
#[derive(Deserialize)]
struct Notification {
    params: Note,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Note {
    text_document: Document,
    #[serde(default)]
    content_changes: Vec<Change>,
}

#[derive(Deserialize)]
struct Document {
    uri: String,
    version: Option<i64>,
    text: Option<String>,
}

/// A change of a document. Some editors send ranges, although the server asks for whole documents.
#[derive(Deserialize)]
struct Change {
    text: String,
    range: Option<ChangedRange>,
}

#[derive(Deserialize)]
struct ChangedRange {
    start: Position,
    end: Position,
}

#[derive(Deserialize)]
struct Position {
    line: u64,
    character: u64,
}

impl Server {
    fn serve(mut self, input: &mut impl BufRead, output: &mut impl Write) -> Result<(), String> {
        while self.stage != Stage::Ended {
            let answers = match frames::read(input).map_err(|error| error.to_string())? {
                Received::Body(body) => self.handle(&body).map_err(|error| error.to_string())?,
                Received::TooLarge(length) => vec![too_large(length, MAX_BODY)],
                Received::End => return Ok(()),
            };
            for answer in answers {
                if frames::write(output, &answer).is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Handles a message, and returns what to send.
    fn handle(&mut self, body: &[u8]) -> serde_json::Result<Vec<Value>> {
        let Some(method) = serde_json::from_slice::<Head>(body)?.method else { return Ok(Vec::new()) };
        Ok(match &*method {
            "exit" => {
                self.stage = Stage::Ended;
                Vec::new()
            }
            "textDocument/didOpen" | "textDocument/didChange" | "textDocument/didClose" => {
                match serde_json::from_slice::<Notification>(body) {
                    Ok(notification) if self.stage == Stage::Running => self.note(&method, notification.params),
                    Ok(_) => Vec::new(),
                    // As with half of a character in UTF-16, which JSON can have, and UTF-8 cannot.
                    Err(error) => vec![logged(&format!("ignored a message that cannot be read: {error}"))],
                }
            }
            _ if body.len() > MAX_REQUEST => vec![too_large(body.len() as u64, MAX_REQUEST as u64)],
            _ => {
                let Request { id, params } = serde_json::from_slice(body)?;
                id.map(|id| self.answer(&id, &method, &params)).into_iter().collect()
            }
        })
    }

    fn answer(&mut self, id: &Value, method: &str, params: &Value) -> Value {
        let failed = |code: i32, message: String| json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } });
        let result = match (self.stage, method) {
            (Stage::New, "initialize") => {
                self.stage = Stage::Running;
                Some(capabilities())
            }
            (Stage::New, _) => return failed(SERVER_NOT_INITIALIZED, "wanted `initialize` first".to_owned()),
            (Stage::Running, "shutdown") => {
                self.stage = Stage::ShutDown;
                None
            }
            (Stage::Running, "textDocument/completion") => self.at(params).map(|(text, at)| completion(text, at)),
            (Stage::Running, "textDocument/hover") => self.at(params).map(|(text, at)| description(text, at)),
            (Stage::Running, "textDocument/definition") => {
                self.at(params).map(|(text, at)| place(text, at, &params["textDocument"]["uri"]))
            }
            (Stage::Running, _) => {
                let method = shortened(method.to_owned());
                return failed(METHOD_NOT_FOUND, format!("`{}` is not served", printable(&method)));
            }
            _ => return failed(INVALID_REQUEST, "wanted `exit` after `shutdown`".to_owned()),
        };
        json!({ "jsonrpc": "2.0", "id": id, "result": result })
    }

    /// Returns the document of a request, and the byte that it asks about.
    fn at(&self, params: &Value) -> Option<(&str, usize)> {
        let text = self.documents.get(params["textDocument"]["uri"].as_str()?)?;
        let position = &params["position"];
        Some((text, offset(text, position["line"].as_u64()?, position["character"].as_u64()?)))
    }

    /// Takes note of a change of a document, and returns its findings.
    fn note(&mut self, method: &str, note: Note) -> Vec<Value> {
        let Document { uri, version, text } = note.text_document;
        // Whatever becomes of the change, it is no longer this text.
        let before = self.documents.remove(&uri);
        let text = match method {
            "textDocument/didOpen" => text,
            "textDocument/didChange" if note.content_changes.len() > MAX_CHANGES => {
                let reason = format!("it has more than {MAX_CHANGES} changes at once");
                return vec![published(&uri, version, &[]), unchecked(&uri, &reason)];
            }
            "textDocument/didChange" => changed(before, &note.content_changes),
            _ => return vec![published(&uri, None, &[])],
        };
        let Some(text) = text else { return Vec::new() };
        if let Some(reason) = self.excess(&uri, &text) {
            return vec![published(&uri, version, &[]), unchecked(&uri, &reason)];
        }
        let diagnostics: Vec<Value> = {
            let script = ParsedScript::parse(&text, Templates::Opaque);
            let (findings, _) = lint_for(&script, &self.target, &self.builds);
            let (mut cursor, mut texts) = (Cursor::new(&text), FindingTexts::of(&script));
            let findings = findings.iter().take(MAX_DIAGNOSTICS);
            findings.map(|finding| diagnostic(&mut cursor, &mut texts, finding)).collect()
        };
        let published = published(&uri, version, &diagnostics);
        self.documents.insert(uri, text);
        vec![published]
    }

    /// Returns the limit that another document `uri` with this `text` would exceed.
    fn excess(&self, uri: &str, text: &str) -> Option<String> {
        let all = self.documents.iter().map(|(uri, text)| uri.len() + text.len()).sum::<usize>();
        let (count, bytes) = MAX_DOCUMENTS;
        if text.len() as u64 > MAX_TEXT {
            Some(format!("it has more than {MAX_TEXT} bytes"))
        } else if count_words(text) > MAX_WORDS {
            Some(format!("it has more than {MAX_WORDS} words"))
        } else if self.documents.len() >= count || all + uri.len() + text.len() > bytes {
            Some(format!("more than {count} documents, or {bytes} bytes of all, are open"))
        } else {
            None
        }
    }
}

fn capabilities() -> Value {
    json!({
        "capabilities": {
            "textDocumentSync": { "openClose": true, "change": 1 },
            "completionProvider": { "triggerCharacters": ["-", "$", "{", "/", ":", " "] },
            "hoverProvider": true,
            "definitionProvider": true,
        },
        "serverInfo": { "name": "netboot-loaders", "version": env!("CARGO_PKG_VERSION") },
    })
}

/// Creates a message for the log of the editor.
fn logged(text: &str) -> Value {
    json!({ "jsonrpc": "2.0", "method": "window/logMessage", "params": { "type": 2, "message": text } })
}

fn too_large(length: u64, most: u64) -> Value {
    logged(&format!("ignored a message of {length} bytes, wanted at most {most}"))
}

fn unchecked(uri: &str, reason: &str) -> Value {
    logged(&format!("`{}` is not checked: {reason}", printable(&shortened(uri.to_owned()))))
}

/// Applies `changes` to `text` in order. Without a text, the first of them has to be one.
fn changed(mut text: Option<String>, changes: &[Change]) -> Option<String> {
    for Change { text: new, range } in changes {
        let Some(range) = range else {
            text = Some(new.clone());
            continue;
        };
        let old = text.as_mut()?;
        let at = |position: &Position| offset(old, position.line, position.character);
        match (at(&range.start), at(&range.end)) {
            (start, end) if start <= end => old.replace_range(start..end, new),
            _ => new.clone_into(old),
        }
    }
    text.filter(|_| !changes.is_empty())
}

fn published(uri: &str, version: Option<i64>, diagnostics: &[Value]) -> Value {
    let mut params = json!({ "uri": uri, "diagnostics": diagnostics });
    if let Some(version) = version {
        params["version"] = version.into();
    }
    json!({ "jsonrpc": "2.0", "method": "textDocument/publishDiagnostics", "params": params })
}

fn diagnostic(cursor: &mut Cursor<'_>, texts: &mut FindingTexts<'_, '_>, finding: &Finding) -> Value {
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
        "message": format!("{}; {}", texts.message(finding), texts.remedy(finding)),
    })
}

fn completion(text: &str, at: usize) -> Value {
    let found = completions(text, at);
    // All of them replace the same word.
    let range = found.first().map(|it| range(text, it.replaces));
    let item = |it: &Completion| {
        let kind = match it.kind {
            CompletionKind::Command => 3,
            CompletionKind::Option => 5,
            CompletionKind::Setting => 6,
            CompletionKind::Type => 25,
            CompletionKind::Label => 18,
        };
        let edit = json!({ "range": range, "newText": it.text });
        json!({ "label": it.text, "kind": kind, "detail": it.detail, "textEdit": edit })
    };
    let items: Value = found.iter().map(item).collect();
    if found.len() < MAX_COMPLETIONS { items } else { json!({ "isIncomplete": true, "items": items }) }
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
    if let Some(before) = line.checked_sub(1) {
        let mut breaks = text.match_indices('\n');
        match usize::try_from(before).ok().and_then(|before| breaks.nth(before)) {
            Some((end, _)) => start = end + 1,
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
        let changes = json!([
            { "text": "a\nb\u{1d11e}c\n" },
            { "range": range(1, 1, 3), "text": "xy" },
            { "range": range(0, 1, 9), "text": "z" },
        ]);
        let changes: Vec<Change> = serde_json::from_value(changes).unwrap();
        assert_eq!(changed(None, &changes).as_deref(), Some("az\nbxyc\n"));
        assert_eq!(changed(None, &changes[1..]), None);
        assert_eq!(changed(Some("old".to_owned()), &[]), None);
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

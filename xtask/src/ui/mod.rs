//! Output of the program: progress bars on a terminal, plain lines elsewhere, JSON on request.

mod bars;
mod plain;
mod stream;

use std::io::{self, BufWriter, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use netboot_loaders::base::diagnostic::{Class, Diagnostic, Help, Location, Subcommand, Wording, remedies};
use netboot_loaders::base::progress::{Event, Progress};
use netboot_loaders::printable::{harmless, is_harmful};
use serde::Serialize;
use serde_json::{Value, json};
use signal_hook::consts::{SIGHUP, TERM_SIGNALS};
use signal_hook::flag;

use self::bars::Bars;
use self::plain::Plain;
use crate::cli::MessageFormat;
use crate::exit::{self, Failure};
use crate::program::SHOWN;

enum Style {
    Quiet,
    Json,
    Bars(Bars),
    Plain(Plain),
}

/// Output of this process in the chosen style, and its cancellation flag.
pub struct Ui {
    style: Style,
    stop: Arc<AtomicBool>,
}

impl Ui {
    /// Chooses the output style and installs the handler for Ctrl-C: the first one asks the work to end, a second one
    /// ends the process.
    pub fn new(quiet: bool, format: MessageFormat) -> Self {
        let style = match (format, quiet) {
            (MessageFormat::Json, _) => Style::Json,
            (MessageFormat::Human, true) => Style::Quiet,
            (MessageFormat::Human, false) if std::io::stderr().is_terminal() => Style::Bars(Bars::new()),
            (MessageFormat::Human, false) => Style::Plain(Plain::default()),
        };
        let stop = Arc::new(AtomicBool::new(false));
        stream::end_with(&stop);
        for signal in TERM_SIGNALS.iter().chain(&[SIGHUP]) {
            // Without a handler, the signal just ends the process, which is safe at any moment.
            let _ =
                flag::register_conditional_shutdown(*signal, exit::code(Class::Interrupted).into(), Arc::clone(&stop));
            let _ = flag::register(*signal, Arc::clone(&stop));
        }
        Self { style, stop }
    }

    /// Checks whether the output consists of JSON objects for programs instead of lines for people.
    pub fn speaks_json(&self) -> bool {
        matches!(self.style, Style::Json)
    }

    /// Prints the outcome of a command: lines for people, one object for programs.
    pub fn result(&self, lines: &str, object: Value) {
        match &self.style {
            Style::Quiet => {}
            Style::Json => emit(&with_event("result", object)),
            Style::Bars(_) | Style::Plain(_) => out(&harmless(lines)),
        }
    }

    /// Like [`Ui::result`], for an object that may be large: it is written in pieces, and only if JSON is requested.
    pub fn result_of(&self, lines: &str, object: &impl Serialize) {
        match &self.style {
            Style::Json => write_json(&WithEvent { event: "result", object }),
            _ => self.result(lines, Value::Null),
        }
    }

    /// Prints the output that the user asked for, even with `--quiet`. Lines that programs read must already be free of
    /// harmful characters: see [`terminal_safe_json`] and `netboot_loaders::base::quote`.
    pub fn answer(&self, lines: &str, object: Value) {
        if let Style::Quiet = self.style {
            out(&harmless(lines));
        }
        self.result(lines, object);
    }

    /// Prints an intermediate message for people only.
    pub fn print(&self, text: &str) {
        match &self.style {
            Style::Json => err(&harmless(text)),
            Style::Quiet => {}
            Style::Bars(_) | Style::Plain(_) => out(&harmless(text)),
        }
    }

    /// Returns the exit code of a command that succeeded: `code`, unless some of its standard output was lost.
    pub fn end(&self, code: ExitCode) -> ExitCode {
        match LOST.get() {
            Some(error) => self.fail(&lost(error)),
            None => code,
        }
    }

    /// Reports a failure and returns its exit code.
    pub fn fail(&self, failure: &Failure) -> ExitCode {
        // After a request to end, every failure is a consequence of it.
        let class = if self.cancelled() { Class::Interrupted } else { failure.class() };
        let code = exit::code(class);
        if let Style::Bars(bars) = &self.style {
            bars.clear();
        }
        if let Style::Json = self.style {
            emit(&error(class, failure));
        }
        if !matches!(self.style, Style::Json) || LOST.get().is_some() {
            let message = match failure.findings() {
                Some(findings) => findings.words(&SHOWN),
                None => failure.message.clone(),
            };
            let page = failure.diagnosis.page.map(|page| SHOWN.command(&Subcommand::Read(page)));
            let page = page.map(|line| format!("{} {line}\n", painted("help:", 36)));
            err(&(labelled("error:", 31, &message, &failure.diagnosis.help) + &page.unwrap_or_default()));
        }
        ExitCode::from(code)
    }
}

/// Returns the event for a failure of this `class`.
fn error(class: Class, failure: &Failure) -> Value {
    let mut event = json!({
        "event": "error",
        "class": class,
        "exit-code": exit::code(class),
        "message": failure.message,
        "help": words(&failure.diagnosis.help),
    });
    if let Some(subject) = &failure.diagnosis.subject {
        event["subject"] = subject.as_str().into();
    }
    if let Some(page) = failure.diagnosis.page {
        event["page"] = page.as_str().into();
    }
    if let Some(findings) = failure.findings() {
        event["findings"] = findings.shown().map(diagnostic).collect();
    }
    event
}

/// Returns a warning or a finding as a JSON object.
fn diagnostic(diagnostic: &Diagnostic) -> Value {
    let mut object = json!({ "message": diagnostic.message, "help": words(&diagnostic.help) });
    if let Some(Location { file, line, key }) = &diagnostic.location {
        object["location"] = json!({ "file": file });
        if *line > 0 {
            object["location"]["line"] = (*line).into();
        }
        if !key.is_empty() {
            object["location"]["key"] = key.as_str().into();
        }
    }
    object
}

fn words(help: &[Help]) -> Vec<String> {
    help.iter().map(|help| SHOWN.help(help)).collect()
}

impl Progress for Ui {
    fn report(&self, event: &Event) {
        match &self.style {
            Style::Quiet => {}
            Style::Json => emit(&match event {
                Event::Warning(warning) => with_event("warning", diagnostic(warning)),
                event => json!(event),
            }),
            Style::Bars(bars) => bars.report(event),
            Style::Plain(plain) => plain.report(event),
        }
    }

    fn cancelled(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

fn with_event(event: &str, mut object: Value) -> Value {
    if let Value::Object(map) = &mut object {
        map.insert("event".into(), event.into());
    }
    object
}

#[derive(Serialize)]
struct WithEvent<'a, T: Serialize> {
    event: &'static str,
    #[serde(flatten)]
    object: &'a T,
}

/// Writes a line of JSON to standard output, which is locked meanwhile. The line is cut short if the user asks to stop.
fn write_json(object: &impl Serialize) {
    let mut pieces = BufWriter::new(Pieces(io::stdout().lock()));
    let written = serde_json::to_writer(&mut pieces, object).map_err(io::Error::from);
    let written = written.and_then(|()| pieces.flush());
    drop(pieces);
    note(written);
    out("\n");
}

/// Writer for pieces of JSON. No piece ends within a character, since those that `serde_json` writes do not.
struct Pieces<'a>(io::StdoutLock<'a>);

impl Write for Pieces<'_> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        let text = std::str::from_utf8(piece).map_err(io::Error::other)?;
        if stream::stopped() {
            // As if the reader had gone away.
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        stream::write(&self.0, &terminal_safe_json(text))?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn emit(object: &Value) {
    out(&(terminal_safe_json(&object.to_string()) + "\n"));
}

/// Escapes characters in `json` that control a terminal or are invisible: strings then have them as `\u` and four
/// digits.
pub fn terminal_safe_json(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        // JSON has unescaped line breaks and tabs between values only, never in strings.
        if is_harmful(character) && !matches!(character, '\n' | '\r' | '\t') {
            character.encode_utf16(&mut [0; 2]).iter().for_each(|unit| text += &format!("\\u{unit:04x}"));
        } else {
            text.push(character);
        }
    }
    text
}

/// First error from writing to standard output.
static LOST: OnceLock<io::Error> = OnceLock::new();

/// Writes to standard output. If that fails, the work continues, and [`Ui::end`] reports the error.
pub fn out(text: &str) {
    note(stream::write(io::stdout().lock(), text));
}

/// Records an error from writing to standard output. A closed pipe is no error: its reader has read all it wanted.
fn note(written: io::Result<()>) {
    if let Err(error) = written
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        let _ = LOST.set(error);
    }
}

fn lost(error: &io::Error) -> Failure {
    Failure::new(Class::Failure, format!("cannot write to standard output\n  caused by: {error}"))
        .help("make room where standard output is written to, and run the command again")
}

/// Prints the help, or the error in the command line, and returns the exit code.
pub fn usage(error: &clap::Error) -> ExitCode {
    let code = ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(exit::code(Class::Failure)));
    if error.use_stderr() {
        let _ = error.print();
        return code;
    }
    note(error.print().and_then(|()| io::stdout().flush()));
    Ui::new(false, MessageFormat::Human).end(code)
}

/// Prints an output line of a program that a command runs to standard error.
pub fn pass_on(line: &str) {
    err(&format!("{}\n", harmless(line)));
}

fn err(text: &str) {
    let _ = stream::write(io::stderr().lock(), text);
}

fn coloured() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Returns `word`, highlighted if standard error shows colours. `code` is an ANSI colour.
fn painted(word: &str, code: u8) -> String {
    if coloured() { format!("\x1b[1;{code}m{word}\x1b[0m") } else { word.to_owned() }
}

/// Returns the text of a warning, followed by its remedies.
fn warning(warning: &Diagnostic) -> String {
    labelled("warning:", 33, &warning.to_string(), &warning.help)
}

/// Returns `message` after a label, followed by its remedies.
fn labelled(label: &str, code: u8, message: &str, help: &[Help]) -> String {
    let mut text = format!("{} {}\n", painted(label, code), harmless(message));
    for remedy in remedies(help, &SHOWN) {
        text += &format!("{} {}\n", painted("hint:", 36), harmless(&remedy));
    }
    text
}

pub use netboot_loaders::base::plural::size;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_does_not_steer_the_terminal() {
        let object = json!({ "path": "a\u{9b}1m\u{202e}\u{e0041}\nü" });
        let text = terminal_safe_json(&object.to_string());
        assert_eq!(text, r#"{"path":"a\u009b1m\u202e\udb40\udc41\nü"}"#);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), object);
        let text = terminal_safe_json(&format!("{object:#}\r\n"));
        assert_eq!(text, "{\n  \"path\": \"a\\u009b1m\\u202e\\udb40\\udc41\\nü\"\n}\r\n");
    }
}

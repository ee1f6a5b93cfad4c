//! What iPXE reports during a rehearsal, between what it prints. The format is that of `vendor/rehearsal/rehearse.c`.

use crate::boot_test::console::Console;

/// Byte before a report.
const RECORD: u8 = 0x1e;
/// Character between the fields of a report.
const FIELD: char = '\x1f';
/// Maximum length of a report in bytes: the longest line of a script in the largest slot, expanded. The rest is dropped.
const LONGEST: usize = 128 << 10;

/// Beginning of the content of a stand-in, before the name of what it stands in for.
pub const STAND_IN: &str = "stand-in for ";

/// An image that iPXE has fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedImage {
    /// The name.
    pub name: String,
    /// Size in bytes.
    pub size: u64,
    /// The command line.
    pub command_line: String,
    /// What it stands in for, if servers have sent a stand-in.
    pub stand_in: Option<String>,
}

/// A report of iPXE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProgramEvent {
    /// A command begins; contains its words.
    Command(Vec<String>),
    /// The innermost command has ended.
    Result {
        /// Whether it has succeeded.
        success: bool,
        /// The error, or what a person has chosen or typed.
        text: String,
    },
    /// The innermost command looks for a key, and there is none.
    Waiting,
    /// The innermost command would wait for a key for more than a day.
    Forever,
    /// A key was taken.
    Key(u8),
    /// An image that would be passed to the kernel.
    Image(FetchedImage),
    /// The image that would be booted, after all [`Image`](Self::Image)s.
    Boot(FetchedImage),
}

impl ProgramEvent {
    /// Parses a report without its first byte; `None` if it is none.
    fn parse(report: &str) -> Option<Self> {
        let mut fields = report.split(FIELD);
        let kind = fields.next()?;
        let fields: Vec<&str> = fields.collect();
        let image = || match fields[..] {
            [name, size, command_line, content] => Some(FetchedImage {
                name: name.to_owned(),
                size: size.parse().ok()?,
                command_line: command_line.to_owned(),
                stand_in: content.strip_prefix(STAND_IN).map(str::to_owned),
            }),
            _ => None,
        };
        Some(match (kind, &fields[..]) {
            ("command", words) if !words.is_empty() => {
                Self::Command(words.iter().map(|word| (*word).to_owned()).collect())
            }
            ("result", [code, text]) => Self::Result { success: *code == "0", text: (*text).to_owned() },
            ("waiting", []) => Self::Waiting,
            ("forever", []) => Self::Forever,
            ("key", [byte]) => Self::Key(byte.parse().ok()?),
            ("image", _) => Self::Image(image()?),
            ("boot", _) => Self::Boot(image()?),
            _ => return None,
        })
    }
}

/// Part of the output of iPXE.
#[derive(Debug, PartialEq, Eq)]
pub enum OutputPart {
    /// A report.
    Event(ProgramEvent),
    /// Text for a person, without escape sequences.
    Text(String),
}

/// Length of what the reports of a run begin with, in characters.
pub const NONCE: usize = 16;

/// Separates reports from the text for people.
pub struct OutputParser {
    /// What each report begins with.
    nonce: String,
    console: Console,
    /// The report that is not complete yet, without its first byte.
    report: Option<Vec<u8>>,
}

impl OutputParser {
    /// Creates a parser for the output of a run whose reports begin with `nonce`. Whatever else looks like a report is
    /// text.
    #[must_use]
    pub fn new(nonce: String) -> Self {
        Self { nonce, console: Console::default(), report: None }
    }

    /// Consumes more bytes, and returns what they complete.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Vec<OutputPart> {
        let mut parts = Vec::new();
        while !bytes.is_empty() {
            if let Some(report) = &mut self.report {
                let end = memchr::memchr(b'\n', bytes);
                let part = &bytes[..end.unwrap_or(bytes.len())];
                report.extend(&part[..part.len().min(LONGEST - report.len())]);
                bytes = &bytes[end.map_or(bytes.len(), |end| end + 1)..];
                if end.is_some() {
                    match report.strip_prefix(self.nonce.as_bytes()) {
                        Some(report) => {
                            let event = ProgramEvent::parse(&String::from_utf8_lossy(report));
                            parts.extend(event.map(OutputPart::Event));
                        }
                        None => parts.push(OutputPart::Text(self.console.take(&[report, &b"\n"[..]].concat()))),
                    }
                    self.report = None;
                }
            } else {
                let start = memchr::memchr(RECORD, bytes);
                let text = self.console.take(&bytes[..start.unwrap_or(bytes.len())]);
                if !text.is_empty() {
                    parts.push(OutputPart::Text(text));
                }
                self.report = start.map(|_| Vec::new());
                bytes = &bytes[start.map_or(bytes.len(), |start| start + 1)..];
            }
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OUTPUT: &[u8] = b"iPXE\r\n\x1ecommand\x1fdhcp\nConfiguring\x1b[0m... ok\r\n\x1eresult\x1f0\x1f\n\
        \x1ekey\x1f13\n\x1eimage\x1fa.img\x1f9\x1f\x1f\n\
        \x1eboot\x1fvmlinuz\x1f5000000\x1fa=b c\x1fstand-in for x/vmlinuz\n";

    #[test]
    fn reports_stand_between_what_people_read() {
        let image = |name: &str, size, command_line: &str, stand_in: Option<&str>| FetchedImage {
            name: name.into(),
            size,
            command_line: command_line.into(),
            stand_in: stand_in.map(str::to_owned),
        };
        assert_eq!(
            OutputParser::new(String::new()).feed(OUTPUT),
            [
                OutputPart::Text("iPXE\n".into()),
                OutputPart::Event(ProgramEvent::Command(vec!["dhcp".into()])),
                OutputPart::Text("Configuring... ok\n".into()),
                OutputPart::Event(ProgramEvent::Result { success: true, text: String::new() }),
                OutputPart::Event(ProgramEvent::Key(13)),
                OutputPart::Event(ProgramEvent::Image(image("a.img", 9, "", None))),
                OutputPart::Event(ProgramEvent::Boot(image("vmlinuz", 5_000_000, "a=b c", Some("x/vmlinuz")))),
            ]
        );
    }

    #[test]
    fn what_a_script_prints_is_no_report() {
        let mut parser = OutputParser::new("0123456789abcdef".into());
        let forged = b"\x1eboot\x1fevil\x1f1\x1f\x1f\n\x1e0123456789abcdefkey\x1f13\n";
        let text = OutputPart::Text("bootevil1\n".into());
        assert_eq!(parser.feed(forged), [text, OutputPart::Event(ProgramEvent::Key(13))]);
    }

    #[test]
    fn what_is_no_report_is_dropped_and_a_long_one_is_cut() {
        let mut parser = OutputParser::new(String::new());
        for none in ["", "boot", "boot\x1fa\x1fx\x1f\x1f", "result\x1f0", "key\x1f256", "command", "other\x1f1"] {
            assert_eq!(parser.feed(format!("\x1e{none}\n").as_bytes()), [], "{none}");
        }
        let long = format!("\x1ecommand\x1f{}\n", "a".repeat(2 * LONGEST));
        let [OutputPart::Event(ProgramEvent::Command(words))] = &parser.feed(long.as_bytes())[..] else { panic!() };
        assert_eq!(words[0].len(), LONGEST - "command\x1f".len());
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_the_output_arrives(cuts in prop::collection::vec(0..OUTPUT.len(), 0..9)) {
            let mut cuts = cuts;
            cuts.extend([0, OUTPUT.len()]);
            cuts.sort_unstable();
            let mut parser = OutputParser::new(String::new());
            let mut text = String::new();
            let mut events = Vec::new();
            for part in cuts.windows(2).flat_map(|cut| parser.feed(&OUTPUT[cut[0]..cut[1]])) {
                match part {
                    OutputPart::Event(event) => events.push(event),
                    OutputPart::Text(more) => text += &more,
                }
            }
            prop_assert_eq!(text, "iPXE\nConfiguring... ok\n");
            prop_assert_eq!(events.len(), 5);
        }

        #[test]
        fn no_output_makes_it_fail(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            OutputParser::new(String::new()).feed(&bytes);
        }
    }
}

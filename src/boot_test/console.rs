//! Serial console output as plain lines.

use vte::{Params, Parser, Perform};

/// Converter from terminal output to plain text. Drops escape sequences such as colours, and starts a new line where
/// the cursor moves to another row: UEFI firmware moves the cursor for every single letter.
pub struct Console {
    parser: Parser,
    plain: Plain,
}

impl Default for Console {
    fn default() -> Self {
        Self { parser: Parser::new(), plain: Plain::default() }
    }
}

impl Console {
    /// Consumes more bytes, and returns the text that they add.
    pub fn take(&mut self, bytes: &[u8]) -> String {
        self.parser.advance(&mut self.plain, bytes);
        std::mem::take(&mut self.plain.text)
    }
}

#[derive(Default)]
struct Plain {
    text: String,
    /// Row of the last cursor movement.
    row: Option<u16>,
    /// Whether the last character ended a line.
    at_start: bool,
}

impl Plain {
    fn new_line(&mut self) {
        if !self.at_start {
            self.text.push('\n');
            self.at_start = true;
        }
    }
}

impl Perform for Plain {
    fn print(&mut self, c: char) {
        self.text.push(c);
        self.at_start = false;
    }

    fn execute(&mut self, byte: u8) {
        match byte {
            b'\n' => {
                self.text.push('\n');
                self.at_start = true;
                self.row = None;
            }
            b'\t' => self.print('\t'),
            _ => {}
        }
    }

    fn csi_dispatch(&mut self, params: &Params, _: &[u8], _: bool, action: char) {
        if matches!(action, 'H' | 'f') {
            let row = params.iter().next().and_then(|param| param.first()).copied().unwrap_or(1);
            if self.row.is_some_and(|old| old != row) {
                self.new_line();
            }
            self.row = Some(row);
        } else if action == 'J' {
            self.new_line();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_go_and_lines_stay() {
        let mut console = Console::default();
        assert_eq!(console.take(b"\x1b[0;1miPXE 2.0.0\x1b[0m -- Open\r\nCon"), "iPXE 2.0.0 -- Open\nCon");
        assert_eq!(console.take(b"figuring... ok\r\n"), "figuring... ok\n");
    }

    #[test]
    fn letters_that_are_placed_one_by_one_are_words_again() {
        let mut console = Console::default();
        let placed = b"\x1b[17;01HL\x1b[17;02H\x1b[17;02Ho\x1b[17;03Had\x1b[18;01H\x1b[18;01Hok";
        assert_eq!(console.take(placed), "Load\nok");
        // An escape sequence may be split anywhere.
        assert_eq!(console.take(b"\x1b[1"), "");
        assert_eq!(console.take(b"8;03H!"), "!");
    }
}

//! Commands in progress, and what a way takes each of them for.

/// Commands that are steps. All others are steps only if they fail: they lead nowhere.
const SHOWN: [&str; 37] = [
    "autoboot",
    "boot",
    "chain",
    "choose",
    "config",
    "dhcp",
    "echo",
    "exit",
    "form",
    "goto",
    "ifconf",
    "ifopen",
    "imgexec",
    "imgextract",
    "imgfetch",
    "imgload",
    "imgselect",
    "imgtrust",
    "imgverify",
    "initrd",
    "kernel",
    "login",
    "menu",
    "module",
    "nslookup",
    "ntp",
    "ping",
    "poweroff",
    "present",
    "prompt",
    "read",
    "reboot",
    "sanboot",
    "sanhook",
    "shell",
    "shim",
    "sleep",
];
/// Other commands that count among those that a rehearsal may have: what scripts calculate with.
const COUNTED: [&str; 9] = ["clear", "ifclose", "iflinkwait", "imgargs", "imgfree", "inc", "iseq", "isset", "set"];
/// Commands whose failure is an answer.
const CONDITIONS: [&str; 5] = ["cpuid", "iseq", "isset", "pciscan", "usbscan"];
/// Commands that execute the selected image unless they name one.
const EXECUTING: [&str; 3] = ["boot", "chain", "imgexec"];
/// Commands that may fetch a file.
const FETCHING: [&str; 9] =
    ["chain", "imgfetch", "imgload", "imgselect", "imgverify", "initrd", "kernel", "module", "shim"];
/// Other commands that ask servers.
const ASKING: [&str; 12] = [
    "autoboot",
    "boot",
    "dhcp",
    "ifconf",
    "ifopen",
    "imgexec",
    "imgextract",
    "imgtrust",
    "nslookup",
    "ntp",
    "ping",
    "sanhook",
];

/// A command in progress.
pub(super) struct OpenCommand {
    words: Vec<String>,
    /// Whether a server has had something to say about it.
    pub is_served: bool,
}

impl OpenCommand {
    pub fn new(words: Vec<String>) -> Self {
        Self { words, is_served: false }
    }

    pub fn name(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// Returns the command as a line. Expanded settings can be empty, and a recorded line has no blanks at its end.
    pub fn line(&self) -> String {
        self.words.join(" ").trim_end().to_owned()
    }

    /// Returns whether it is a step even if it succeeds.
    pub fn is_shown(&self) -> bool {
        SHOWN.contains(&self.name())
    }

    /// Returns whether it is one of those that a rehearsal may have a number of.
    pub fn is_counted(&self) -> bool {
        self.is_shown() || COUNTED.contains(&self.name())
    }

    /// Returns whether its failure is an answer.
    pub fn is_condition(&self) -> bool {
        CONDITIONS.contains(&self.name())
    }

    /// Returns whether it executes an image.
    pub fn executes(&self) -> bool {
        EXECUTING.contains(&self.name())
    }

    /// Returns whether iPXE refuses it because of its words, and does nothing.
    pub fn is_refused(&self) -> bool {
        netboot_script::is_refused(&self.words)
    }

    /// Returns whether a server may have something to say about it.
    pub fn asks_servers(&self) -> bool {
        FETCHING.contains(&self.name()) || ASKING.contains(&self.name())
    }

    /// Returns whether it may have asked a TFTP server, and none has reported anything.
    pub fn awaits_tftp(&self) -> bool {
        let mut words = self.words.iter().skip(1);
        // A relative address belongs to the server of the script.
        let may_ask = words.clone().any(|word| word.starts_with("tftp:")) || !words.any(|word| word.contains("://"));
        !self.is_served && may_ask && self.words.len() > 1 && FETCHING.contains(&self.name())
    }
}

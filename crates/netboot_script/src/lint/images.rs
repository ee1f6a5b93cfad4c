//! Rules about kernels and their initial RAM disks.

use std::borrow::Cow;
use std::collections::BTreeSet;

use percent_encoding::percent_decode_str;

use super::{KnownCommand, Linter, boots, fetches};
use crate::commands::IpxeRelease;
use crate::finding::shortened;
use crate::rule::{Rule, Severity};
use crate::syntax::{ScriptWord, Span};
use crate::target::ScriptPlatform;

/// Maximum number of kernels between which a script decides.
const MAX_KERNELS: usize = 100;

/// A kernel and what belongs to it, until it starts.
#[derive(Default)]
struct Group<'s> {
    kernels: Vec<Kernel<'s>>,
    /// The names of the images that can be an initial RAM disk; `None` for one that is computed.
    images: Vec<Option<Cow<'s, str>>>,
    /// The part of a template that it is in.
    branch: usize,
    conditional: bool,
}

struct Kernel<'s> {
    name: &'s str,
    span: Span,
    /// Its arguments.
    words: Vec<(&'s str, Span, bool)>,
}

impl<'s> Group<'s> {
    /// Takes the image that `command` executes or selects, which can have been fetched before, for a kernel.
    fn select(&mut self, command: &KnownCommand<'s, '_>, first: &'s ScriptWord<'_>) {
        self.drop(first);
        self.kernels.push(kernel(command, first));
    }

    /// Replaces images by what a command makes of them.
    fn convert(&mut self, command: &KnownCommand<'s, '_>, first: &'s ScriptWord<'_>) {
        // The others have a signature or a key beside the image.
        let used = if command.name == "imgextract" { Some(first) } else { command.arguments.positional.get(1) };
        if let Some(used) = used.filter(|_| command.arguments.option("keep").is_none()) {
            self.drop(used);
        }
        match command.name {
            "imgverify" => return,
            // It has another name from here on.
            "imgdecrypt" => self.drop(first),
            _ => {}
        }
        let stripped = |name: Cow<'s, str>| match name.rfind('.') {
            Some(end) => Cow::Owned(name[..end].to_owned()),
            None => name,
        };
        let is_named = command.arguments.option("name").is_some();
        self.images.push(image_name(command, first).map(|name| if is_named { name } else { stripped(name) }));
    }

    /// Discards an image.
    fn free(&mut self, word: &ScriptWord<'_>) {
        self.drop(word);
        self.kernels.retain(|kernel| base_name(kernel.name) != word.text);
    }

    /// Takes the image with the name `word` out of those that can be an initial RAM disk.
    fn drop(&mut self, word: &ScriptWord<'_>) {
        // A name that is computed can be that of any of them; those of files have no slash.
        self.conditional |= !word.is_plain() && !word.text.contains('/') && !self.images.is_empty();
        self.images.retain(|name| name.as_deref() != Some(&*word.text));
    }
}

impl<'s> Linter<'s, '_> {
    pub(super) fn images(&mut self) {
        self.left();
        if self.target.ipxe == IpxeRelease::V1_21_1 {
            self.older_ways();
        }
        if !self.target.platform.can_be_efi() {
            return;
        }
        let known = std::mem::take(&mut self.known);
        let mut group = Group::default();
        for command in &known {
            let line = self.line(command.line);
            let first = command.arguments.positional.first();
            if group.kernels.is_empty() && group.images.is_empty() {
                group.branch = line.branch;
            }
            group.conditional |= line.conditional || line.branch != group.branch;
            match (command.name, first) {
                // Only the last kernel starts, unless the script decides which.
                _ if group.kernels.len() > MAX_KERNELS => group.kernels.clear(),
                ("kernel" | "imgload" | "imgselect", Some(first)) => group.select(command, first),
                ("imgargs", Some(first)) => {
                    let name = base_name(&first.text);
                    group.kernels.retain(|kernel| base_name(kernel.name) != name);
                    group.select(command, first);
                }
                ("initrd" | "imgfetch" | "module", Some(first)) => group.images.push(image_name(command, first)),
                ("imgextract" | "imgdecrypt" | "imgverify", Some(first)) => group.convert(command, first),
                ("boot" | "imgexec" | "chain", Some(first)) if command.arguments.positional.len() > 1 => {
                    group.select(command, first);
                    self.start(&std::mem::take(&mut group));
                }
                (name, _) if boots(name) => self.start(&std::mem::take(&mut group)),
                ("imgfree", Some(_)) => command.arguments.positional.iter().for_each(|word| group.free(word)),
                ("imgfree" | "exit", _) => group = Group::default(),
                _ => {}
            }
        }
        self.known = known;
    }

    /// Finds what 1.21.1 does otherwise with images: on UEFI it hands each of them to the kernel as a file of its own, so
    /// that there is no `initrd.magic` and no image becomes a file of the initial RAM disk (2.0.0 does both since
    /// e5f025517), and it makes no folders for such files (12ea8c407).
    fn older_ways(&mut self) {
        let efi = self.target.platform.can_be_efi();
        let unsure = if self.target.platform == ScriptPlatform::Any { Severity::Note } else { Severity::Warning };
        let known = std::mem::take(&mut self.known);
        for command in known.iter().filter(|it| fetches(it.name) || boots(it.name) || it.name == "imgargs") {
            let words = || command.arguments.positional.iter().skip(1);
            let initrd = matches!(command.name, "initrd" | "module" | "imgfetch");
            let mut report = |span, what: &str, then: &str, severity| {
                let message = self.newer(what, IpxeRelease::V2_0_0, then);
                self.report(Rule::VersionDifference, span, message, "use a newer iPXE, or do without it").severity =
                    severity;
            };
            if let Some(word) = words().find(|word| initrd && word.text.starts_with("mkdir=")) {
                report(word.span, "`mkdir=`", "no folder is made", Severity::Warning);
            } else if let Some(word) = words().next().filter(|_| initrd && efi) {
                report(word.span, "a name in the initial RAM disk, on UEFI,", "the file is not there", unsure);
            }
            if let Some(word) = words().find(|word| efi && word.text == "initrd=initrd.magic") {
                report(word.span, "`initrd.magic`", "the kernel finds no initial RAM disk", unsure);
            }
        }
        self.known = known;
    }

    /// Checks a kernel that starts.
    fn start(&mut self, group: &Group<'s>) {
        let images: BTreeSet<&str> = group.images.iter().flatten().map(|name| &**name).collect();
        let certain = group.images.iter().all(Option::is_some) && !group.conditional && !images.is_empty();
        let among: Vec<_> = images.iter().take(5).map(|name| format!("`{name}`")).collect();
        let among = shortened(among.join(", "));
        for kernel in &group.kernels {
            let mut seen = BTreeSet::new();
            let mut named = false;
            for (text, span, plain) in &kernel.words {
                let Some(name) = text.strip_prefix("initrd=") else { continue };
                named = true;
                if !plain {
                    continue;
                }
                if !seen.insert(name) {
                    let message = format!("`{text}` is there twice, and the kernel would read the image twice");
                    self.report(Rule::InitrdArgument, *span, message, "remove one of them");
                }
                if certain && !images.contains(name) && name != "initrd.magic" {
                    let message = format!("`{text}` names no image: on UEFI, the kernel looks among {among}");
                    let has_blank = images.iter().any(|name| name.contains(' '));
                    let remedy = if has_blank {
                        "give the image a name without blanks with `--name`, and write that"
                    } else {
                        "write the name of the image"
                    };
                    self.report(Rule::InitrdArgument, *span, message, remedy);
                }
            }
            self.without_argument(kernel, named, group);
        }
    }

    /// Checks a kernel that has an initial RAM disk, and no argument for it if not `named`.
    fn without_argument(&mut self, kernel: &Kernel<'s>, named: bool, group: &Group<'s>) {
        let name = base_name(kernel.name).to_ascii_lowercase();
        let computed = name.contains(['$', '{', '<']);
        let is_linux = !computed && ["vmlinu", "linux", "bzimage", "kernel"].iter().any(|word| name.contains(word));
        // Settings among the arguments can contain it.
        let certain = kernel.words.iter().all(|(text, _, plain)| *plain || text.contains('='));
        if named || !is_linux || !certain || group.images.is_empty() || group.conditional {
            return;
        }
        let image = group.images.iter().flatten().next().filter(|name| !name.contains(' '));
        let image = image.map_or("NAME", |name| name);
        let message = "has no `initrd=`, by which a kernel older than 5.7 finds its initial RAM disk on UEFI";
        // From 2.0.0 on, iPXE offers it to newer kernels by a way that needs no argument.
        let severity = if self.target.ipxe == IpxeRelease::V1_21_1 { Severity::Warning } else { Severity::Note };
        self.report(Rule::InitrdArgument, kernel.span, message, format!("add `initrd={image}`")).severity = severity;
    }

    /// Finds scripts that load an initial RAM disk and never discard other images.
    fn left(&mut self) {
        let frees = self.known.iter().any(|known| known.name == "imgfree");
        let first = self.known.iter().find(|known| matches!(known.name, "initrd" | "module"));
        let Some(first) = first.filter(|_| !frees && !self.unknown) else { return };
        let span = first.command.words[0].span;
        let message = "what is registered before this becomes part of the initial RAM disk: other scripts, and what an \
                       earlier try has loaded";
        self.report(Rule::ImagesLeft, span, message, "write `imgfree` before the first image");
    }
}

fn kernel<'s>(command: &KnownCommand<'s, '_>, first: &'s ScriptWord<'_>) -> Kernel<'s> {
    let words = command.arguments.positional.iter().skip(1);
    let words = words.map(|word| (&*word.text, word.span, word.is_plain())).collect();
    Kernel { name: &first.text, span: first.span, words }
}

/// Returns the name that iPXE gives the image of a command, unless it is computed.
fn image_name<'s>(command: &KnownCommand<'s, '_>, first: &'s ScriptWord<'_>) -> Option<Cow<'s, str>> {
    let given = command.arguments.option("name").map(|option| option.value.map_or("", |(value, _)| value));
    let name = given.map_or_else(|| percent_decode_str(base_name(&first.text)).decode_utf8_lossy(), Cow::Borrowed);
    let plain = !name.contains("${") && !name.contains("{{") && !name.contains("<%") && !first.template;
    (plain && !name.is_empty()).then_some(name)
}

/// Returns the last part of an address's path.
pub(super) fn base_name(address: &str) -> &str {
    let path = address.split(['?', '#']).next().unwrap_or_default();
    let name = path.rsplit('/').next().unwrap_or_default();
    // The slash in the name of a setting separates nothing.
    if path.rfind("${").is_some_and(|at| at > path.len() - name.len() || !path[at..].contains('}')) {
        path
    } else {
        name
    }
}

//! Picture of a boot order: who talks to which server, from top to bottom, and where each line of it is drawn.

use serde::Serialize;

use crate::base::paths::PXELINUX_DEFAULT;
use crate::loader::target::Platform;
use crate::serve::boot_order::{BootOrder, FirmwareAnswer};

/// Maximum number of characters of a name in the picture, which has no room for more.
const MAX_NAME: usize = 26;

/// Program that runs on the machine.
#[derive(Serialize)]
struct Stage {
    /// Class in the stylesheet.
    class: &'static str,
    name: &'static str,
    /// Top of its box.
    top: usize,
    height: usize,
    messages: Vec<Message>,
}

/// A message between a program and a server.
#[derive(Serialize)]
struct Message {
    server: &'static str,
    /// Whether the server receives it.
    asks: bool,
    lines: Vec<String>,
    /// Top of its first line.
    top: usize,
    /// Position of its arrow.
    arrow: usize,
}

/// A boot order with positions, for a template.
#[derive(Serialize)]
pub(super) struct Picture {
    height: usize,
    stages: Vec<Stage>,
}

fn asks(server: &'static str, lines: &[&str]) -> Message {
    Message { server, asks: true, lines: lines.iter().map(ToString::to_string).collect(), top: 0, arrow: 0 }
}

fn sends(server: &'static str, lines: &[&str]) -> Message {
    Message { asks: false, ..asks(server, lines) }
}

fn stage(class: &'static str, name: &'static str, messages: Vec<Message>) -> Stage {
    Stage { class, name, top: 0, height: 0, messages }
}

/// Returns the name of a kind of firmware in a few letters.
fn firmware(answer: &FirmwareAnswer) -> &'static str {
    match (answer.platform, answer.http) {
        (Platform::Bios, _) => "BIOS",
        (_, false) => "UEFI",
        (_, true) => "HTTP boot",
    }
}

/// Returns `name`, shortened to what the picture has room for.
fn short(name: &str) -> String {
    match name.char_indices().nth(MAX_NAME) {
        Some(_) => name.chars().take(MAX_NAME - 1).chain(['…']).collect(),
        None => name.to_owned(),
    }
}

/// Returns the picture of `order`; `None` if machines get no loader.
pub(super) fn picture(order: &BootOrder) -> Option<Picture> {
    let answers = &order.answers;
    let by_http = answers.iter().any(|answer| answer.http);
    let told: Vec<String> =
        answers.iter().map(|answer| format!("{} → {}", firmware(answer), short(&answer.loader))).collect();
    let told: Vec<&str> = told.iter().map(String::as_str).collect();
    let fetched = if by_http { "the loader (HTTP boot: by HTTP)" } else { "the loader" };
    let mut stages = vec![stage(
        "firmware",
        "Firmware",
        vec![asks("DHCP", &["what it is: option 93"]), sends("DHCP", &told), sends("TFTP", &[fetched])],
    )];
    let ipxe = answers.iter().any(FirmwareAnswer::is_ipxe);
    if ipxe {
        stages.push(stage("loader", "iPXE", after_ipxe(order)));
    }
    if answers.iter().any(|answer| !answer.is_ipxe()) {
        let configuration = if order.configured { PXELINUX_DEFAULT } else { "its configuration" };
        let name = if ipxe { "or syslinux" } else { "syslinux" };
        let messages =
            vec![sends("TFTP", &["its modules,", configuration]), sends("HTTP", &["kernel, initial RAM disk"])];
        stages.push(stage("loader", name, messages));
    }
    stages.push(stage("system", "Linux", Vec::new()));
    (!answers.is_empty()).then(|| placed(stages))
}

/// Returns what iPXE asks for and gets.
fn after_ipxe(order: &BootOrder) -> Vec<Message> {
    let script = match &order.scripts {
        Some((name, 1)) => short(name),
        Some((_, many)) => format!("a script (this tree has {many})"),
        None => "the script".to_owned(),
    };
    let first = if order.asks {
        vec![
            asks("DHCP", &["embedded script: asks again"]),
            sends("DHCP", &["option 17: a script's address"]),
            sends("HTTP", &[&script]),
        ]
    } else {
        vec![sends("HTTP", &["what the embedded script names"])]
    };
    first.into_iter().chain([sends("HTTP", &["kernel, initial RAM disk"])]).collect()
}

/// Sets the positions of `stages`, from top to bottom.
fn placed(mut stages: Vec<Stage>) -> Picture {
    let mut y = 30;
    for stage in &mut stages {
        stage.top = y;
        y += 4;
        for message in &mut stage.messages {
            message.top = y + 14;
            message.arrow = message.top + 16 * message.lines.len() - 7;
            y = message.arrow + 14;
        }
        y = y.max(stage.top + 30);
        stage.height = y - stage.top;
        y += 6;
    }
    Picture { height: y, stages }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loader::target::Loader;

    fn answer(platform: Platform, http: bool, loader: &str) -> FirmwareAnswer {
        FirmwareAnswer { platform, http, codes: vec![7], loader: loader.to_owned(), other: None::<Loader> }
    }

    /// Returns the picture as one line a message.
    fn drawn(order: &BootOrder) -> Vec<String> {
        let Some(picture) = picture(order) else { return Vec::new() };
        let of_stage = |stage: &Stage| {
            let message = |message: &Message| {
                let arrow = if message.asks { ">" } else { "<" };
                format!("{} {arrow} {}: {}", stage.name, message.server, message.lines.join(" / "))
            };
            let empty = stage.messages.is_empty().then(|| stage.name.to_owned());
            stage.messages.iter().map(message).chain(empty).collect::<Vec<_>>()
        };
        picture.stages.iter().flat_map(of_stage).collect()
    }

    #[test]
    fn a_picture_shows_what_the_tree_has() {
        assert!(drawn(&BootOrder::default()).is_empty());
        let name = "é".repeat(27);
        let ipxe = BootOrder {
            answers: vec![answer(Platform::Bios, false, "undionly.kpxe"), answer(Platform::EfiX64, true, "ipxe.efi")],
            asks: true,
            scripts: Some((name, 1)),
            ..BootOrder::default()
        };
        let shown = [
            "Firmware > DHCP: what it is: option 93",
            "Firmware < DHCP: BIOS → undionly.kpxe / HTTP boot → ipxe.efi",
            "Firmware < TFTP: the loader (HTTP boot: by HTTP)",
            "iPXE > DHCP: embedded script: asks again",
            "iPXE < DHCP: option 17: a script's address",
            &format!("iPXE < HTTP: {}…", "é".repeat(25)),
            "iPXE < HTTP: kernel, initial RAM disk",
            "Linux",
        ];
        assert_eq!(drawn(&ipxe), shown);
        let mixed = BootOrder {
            answers: vec![answer(Platform::Bios, false, "lpxelinux.0"), answer(Platform::EfiX64, false, "ipxe.efi")],
            configured: true,
            ..BootOrder::default()
        };
        let shown = [
            "iPXE < HTTP: what the embedded script names",
            "iPXE < HTTP: kernel, initial RAM disk",
            &format!("or syslinux < TFTP: its modules, / {PXELINUX_DEFAULT}"),
            "or syslinux < HTTP: kernel, initial RAM disk",
            "Linux",
        ];
        assert_eq!(drawn(&mixed)[3..], shown);
    }
}

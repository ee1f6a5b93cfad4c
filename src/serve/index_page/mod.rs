//! HTML index page of a tree: its files, the loader for each kind of machine, and recipes for the servers. It
//! references no external resources, and the same input gives the same page. Its only script adds buttons that copy.

mod picture;

use minijinja::Value;
use minijinja::value::Serde;
use percent_encoding::utf8_percent_encode;
use serde::Serialize;
use serde_json::json;

use crate::base::diagnostic::{Subcommand, Wording};
use crate::base::paths::is_linked_list;
use crate::base::url::RESERVED;
use crate::html_page;
use crate::loader::file_kind::FileKind;
use crate::loader::target::{Arch, DriverSet, Loader, Platform};
use crate::serve::boot_order::{BootOrder, FirmwareAnswer};
use crate::serve::server_config::{ConfigFile, ServerKind};
use crate::tree::manifest::{Embedded, ManifestEntry};

/// Content of an index page.
#[derive(Debug)]
pub struct Index<'a> {
    /// Version of this tool.
    pub version: &'a str,
    /// Name of the tree's folder, which is beside the page.
    pub tree: &'a str,
    /// Files in the root of the tree.
    pub root: &'a [ManifestEntry],
    /// What machines get from the root of the tree.
    pub order: &'a BootOrder,
    /// Number of files of sites.
    pub sited: usize,
    /// Recipes for the servers, if the network is described.
    pub recipes: &'a [(ServerKind, Vec<ConfigFile>)],
}

/// Script of the page.
const COPY: &str = include_str!("copy.js");

/// Maximum size of a recipe's file on a page, in bytes.
const MAX_RECIPE: usize = 1 << 20;

/// Returns `files` of the recipe `server` for a page. Replaces a file that is too large with a note with the command
/// that writes it.
#[must_use]
pub fn fit(server: ServerKind, files: Vec<ConfigFile>, wording: &dyn Wording) -> Vec<ConfigFile> {
    let fit = |file: ConfigFile| match file.text.len() {
        size if size > MAX_RECIPE => {
            let command = wording.command(&Subcommand::Recipe(server.to_string()));
            let text = format!("This has {size} bytes. `{command}` writes it.\n");
            ConfigFile { text, ..file }
        }
        _ => file,
    };
    files.into_iter().map(fit).collect()
}

/// Table row of a file.
#[derive(Serialize)]
struct Row<'a> {
    path: &'a str,
    size: u64,
    sha256: String,
    is: String,
    script: Option<&'a str>,
}

/// Returns the page as HTML.
///
/// # Panics
///
/// If the template is invalid, which a test rules out.
#[must_use]
pub fn page(index: &Index<'_>) -> String {
    let mut environment = html_page::environment();
    environment.add_filter("address", address);
    let picture = environment.add_template("picture.svg", include_str!("picture.svg"));
    picture.expect("the template is filled in by a test");
    let recipes: Vec<_> = index
        .recipes
        .iter()
        .map(|(server, files)| {
            let files: Vec<_> = files.iter().map(|file| json!({ "name": file.name, "text": file.text })).collect();
            json!({ "server": server.as_str(), "words": server.words(), "files": files })
        })
        .collect();
    let rows: Vec<Row<'_>> = index.root.iter().filter(|file| !is_linked_list(&file.path)).map(row).collect();
    let script = (!recipes.is_empty()).then_some(COPY);
    let page = environment.render_str(
        include_str!("page.html"),
        Value::from(Serde(json!({
            "version": index.version,
            "tree": index.tree,
            "sited": index.sited,
            "linked": rows.len() < index.root.len(),
            "rows": rows,
            "recipes": recipes,
            "script": script,
            "script_source": script.map(html_page::script_source),
            "picture": picture::picture(index.order),
            "answers": index.order.answers.iter().map(answer).collect::<Vec<_>>(),
            "legacy": index.order.legacy,
        }))),
    );
    page.expect("the template is filled in by a test")
}

/// Returns an answer for the table of loaders.
fn answer(answer: &FirmwareAnswer) -> serde_json::Value {
    let codes: Vec<String> = answer.codes.iter().map(ToString::to_string).collect();
    json!({
        "codes": codes.join(", "),
        "http": answer.http,
        "bios": answer.platform == Platform::Bios,
        "arch": arch_words(answer.platform.arch()),
        "loader": answer.loader,
        "other": answer.other.map(Loader::as_str),
    })
}

fn row(file: &ManifestEntry) -> Row<'_> {
    Row {
        path: file.path.as_str(),
        size: file.size,
        sha256: file.sha256.to_string(),
        is: words(file),
        script: file.ipxe.as_ref().map(|embedded| embedded.script.as_str()),
    }
}

/// Percent-encodes `path` for a URL.
fn address(path: &str) -> String {
    utf8_percent_encode(path, const { &RESERVED.remove(b'/') }).to_string()
}

/// Describes which machines a file in the root of the tree is for.
fn words(file: &ManifestEntry) -> String {
    let machine = match (file.kind, file.arch) {
        (FileKind::IpxeNbp | FileKind::PxelinuxNbp, _) => "BIOS".to_owned(),
        (FileKind::EfiApplication, arch) => format!("UEFI, {}", arch_words(arch.unwrap_or(Arch::X86_64))),
        (FileKind::IsoImage, _) => return format!("a CD to boot from: {}", machines(file)),
        (FileKind::DiskImage, _) => return format!("a USB stick to boot from: {}", machines(file)),
        (FileKind::ZipArchive, _) => return format!("for a machine's own EFI partition: {}", machines(file)),
        (FileKind::LinuxKernel, _) => return "for a boot loader on a disk".to_owned(),
        (FileKind::SyslinuxModule, _) => return "for a loader of syslinux".to_owned(),
        (FileKind::Text, _) if file.path.extension() == Some("ipxe") => {
            return "a script for iPXE: what machines boot".to_owned();
        }
        (FileKind::Text | FileKind::Data, _) => return "read by other files".to_owned(),
    };
    let drives = match file.path.as_str().parse::<Loader>().map(|loader| (loader.drivers(), loader.platform())) {
        Ok((DriverSet::All, _)) => ", with iPXE's own network drivers",
        Ok((DriverSet::Firmware, Platform::Bios)) => ", through the card's own driver (UNDI)",
        Ok((DriverSet::Firmware, _)) => ", through the firmware's own driver (SNP)",
        Ok((DriverSet::AllButUsb, _)) => ", without USB network drivers, which can take USB keyboards away",
        Err(_) => ": syslinux",
    };
    format!("{machine}{drives}")
}

/// Lists the machines that a boot medium is for.
fn machines(file: &ManifestEntry) -> String {
    let loaders = file.ipxe.iter().flat_map(Embedded::loaders);
    let machine = |loader: Loader| match loader.platform() {
        Platform::Bios => "BIOS".to_owned(),
        platform => format!("UEFI on {}", arch_words(platform.arch())),
    };
    loaders.map(machine).collect::<Vec<_>>().join(", ")
}

/// Returns the name of a CPU as people write it.
fn arch_words(arch: Arch) -> &'static str {
    match arch {
        Arch::I386 => "32-bit x86",
        Arch::X86_64 => "x86-64",
        Arch::Arm64 => "ARM64",
        Arch::Arm32 => "ARM32",
        Arch::Riscv64 => "RISC-V",
        Arch::Loong64 => "LoongArch",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::diagnostic::PlainWording;
    use crate::digest::Sha256Digest;

    fn file(path: &str, kind: FileKind, arch: Option<Arch>) -> ManifestEntry {
        let sha256 = Sha256Digest::of(path.as_bytes());
        ManifestEntry {
            path: path.into(),
            size: 7,
            sha256,
            authenticode_sha256: None,
            kind,
            arch,
            site: None,
            same_as: None,
            ipxe: None,
            member: None,
            set: None,
        }
    }

    #[test]
    fn a_page_has_all_files_and_recipes_and_needs_nothing_from_elsewhere() {
        let root = [
            file("a<b>.ipxe", FileKind::Text, None),
            file("arm64/snponly.efi", FileKind::EfiApplication, Some(Arch::Arm64)),
            file("ipxe.efi", FileKind::EfiApplication, Some(Arch::X86_64)),
            file("linked-objects/default/ipxe.efi.txt", FileKind::Text, None),
            file("undionly.kpxe", FileKind::IpxeNbp, None),
        ];
        let recipes = [(ServerKind::Kea, vec![ConfigFile { name: "kea.conf", text: "{ \"a\": \"<&>\" }\n".into() }])];
        let order = BootOrder {
            answers: vec![FirmwareAnswer {
                platform: Platform::Bios,
                http: false,
                codes: vec![0],
                loader: "ipxe.pxe".to_owned(),
                other: Some(Loader::UndionlyKpxe),
            }],
            asks: true,
            scripts: Some(("a<b>.ipxe".to_owned(), 1)),
            ..BootOrder::default()
        };
        let page =
            page(&Index { version: "1.2.3", tree: "tftp", root: &root, order: &order, sited: 12, recipes: &recipes });
        for part in [
            "UEFI, x86-64, with iPXE&#x27;s own network drivers",
            "UEFI, ARM64, through the firmware&#x27;s own driver (SNP)",
            "BIOS, through the card&#x27;s own driver (UNDI)",
            "href=\"tftp/undionly.kpxe\"",
            &Sha256Digest::of(b"ipxe.efi").to_string(),
            "a&lt;b&gt;.ipxe",
            "{ &quot;a&quot;: &quot;&lt;&amp;&gt;&quot; }",
            "12 files of sites",
            "<td>0</td><td><code>ipxe.pxe</code>, or <code>undionly.kpxe</code> where the card's own driver works better",
            "text-anchor=\"middle\">a&lt;b&gt;.ipxe</text>",
            "iPXE asks DHCP: embedded script: asks again, then gets from DHCP: ",
            &format!("<script>{COPY}</script>"),
        ] {
            assert!(page.contains(part), "{part} is not in:\n{page}");
        }
        assert_eq!(page.matches("<script").count(), 1);
        for elsewhere in ["<link", "src=", "url(", "@import", "http://", "https://"] {
            assert!(!page.contains(elsewhere), "{elsewhere}");
        }
    }

    #[test]
    fn a_recipe_that_is_too_long_for_a_page_is_named() {
        let file = |size| ConfigFile { name: "kea.conf", text: "x".repeat(size) };
        let files = fit(ServerKind::Kea, vec![file(1 << 20), file(1 + (1 << 20))], &PlainWording);
        assert_eq!(files[0].text.len(), 1 << 20);
        assert_eq!(files[1].text, "This has 1048577 bytes. `Recipe(\"kea\")` writes it.\n");
    }

    #[test]
    fn a_link_leads_to_a_folder_of_any_name() {
        assert_eq!(address("a-b_c.d~/100% #1?é"), "a-b_c.d~/100%25%20%231%3F%C3%A9");
    }

    #[test]
    fn without_a_network_a_page_says_how_to_get_recipes() {
        let page = page(&Index {
            version: "1",
            tree: "tftp",
            root: &[],
            order: &BootOrder::default(),
            sited: 0,
            recipes: &[],
        });
        assert!(page.contains("network.toml") && page.contains("The root of the tree has no loader"), "{page}");
        for absent in ["<details", "<script", "script-src", "<svg"] {
            assert!(!page.contains(absent), "{absent} is in {page}");
        }
    }
}

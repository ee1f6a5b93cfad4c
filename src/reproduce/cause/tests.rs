//! Tests that each difference between inputs is reported, and nothing else.

use super::*;
use crate::digest::{CommitId, TreeId};
use crate::loader::file_kind::FileKind;
use crate::tree::manifest::{Embedded, Generator, PatchEntry};

fn digest(text: &str) -> Sha256Digest {
    Sha256Digest::of(text.as_bytes())
}

fn manifest() -> Manifest {
    let files = BTreeMap::from([("as".to_owned(), digest("as")), ("ld".to_owned(), digest("ld"))]);
    let ipxe = Embedded {
        target: "bin/ipxe.pxe".into(),
        configuration: digest("config"),
        script: "boot.ipxe".into(),
        slot_size: crate::stamp::slot::SlotSize::DEFAULT,
        slot_sha256: digest("slot"),
    };
    Manifest {
        schema_version: 1,
        generator: Generator { name: "x".into(), version: "1".into() },
        ipxe: IpxeEntry {
            version: "2.0.0".into(),
            commit: "1".repeat(40).parse::<CommitId>().unwrap(),
            tree: "2".repeat(40).parse::<TreeId>().unwrap(),
            content_sha256: digest("content"),
            source_date_epoch: 1,
            patches: vec![],
            embedded_name: "embedded.ipxe".into(),
        },
        syslinux: None,
        toolchain: vec![ToolEntry {
            name: "binutils".into(),
            version: "GNU ld 2.40".into(),
            sha256: digest("ld"),
            package: Some("binutils 2.40-2".into()),
            files,
        }],
        configurations: vec![Configuration {
            name: "default".into(),
            sha256: digest("config"),
            make: vec!["AUTO_DEPS=".into(), "GITVERSION=abc".into()],
            environment: vec!["TZ=UTC".into(), "SOURCE_DATE_EPOCH=1".into()],
            headers: BTreeMap::from([("general.h".into(), digest("header"))]),
            trust: BTreeMap::new(),
            sbat: None,
        }],
        secure_boot: None,
        files: vec![ManifestEntry {
            same_as: None,
            path: "ipxe.pxe".into(),
            size: 1,
            sha256: digest("loader"),
            authenticode_sha256: None,
            kind: FileKind::IpxeNbp,
            arch: None,
            site: None,
            ipxe: Some(ipxe),
            member: None,
            set: None,
        }],
    }
}

/// Returns the reported causes if `change` is applied to the manifest here.
fn said(change: impl FnOnce(&mut Manifest)) -> Vec<String> {
    let mut here = manifest();
    change(&mut here);
    causes(&here, &manifest()).0.iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_the_same_is_no_cause() {
    assert_eq!(said(|_| {}), [""; 0]);
    // The digest of a loader is what the causes explain, and the generator does not affect it.
    let generator = |here: &mut Manifest| {
        here.files[0].sha256 = digest("other");
        here.generator.version = "2".into();
    };
    assert_eq!(said(generator), [""; 0]);
}

#[test]
fn another_tool_is_named_by_package_and_program() {
    let short = |text: &str| digest(text).short();
    let assembler = |here: &mut Manifest| {
        here.toolchain[0].files.insert("as".into(), digest("other"));
    };
    assert_eq!(
        said(assembler),
        [format!(
            "`binutils`: found binutils 2.40-2 (as {}), wanted binutils 2.40-2 (as {})",
            short("other"),
            short("as")
        )]
    );
    let package = |here: &mut Manifest| here.toolchain[0].package = Some("binutils 2.44-3".into());
    assert_eq!(said(package), ["`binutils`: found binutils 2.44-3, wanted binutils 2.40-2"]);
    assert_eq!(said(|here| here.toolchain.clear()), ["`binutils`: found none, wanted binutils 2.40-2"]);
    let more = |here: &mut Manifest| {
        let mut tool = here.toolchain[0].clone();
        (tool.name, tool.package) = ("openssl".into(), None);
        here.toolchain.push(tool);
    };
    assert_eq!(said(more), ["`openssl`: found GNU ld 2.40, wanted none"]);
}

#[test]
fn pins_and_patches_are_compared() {
    let pins = |here: &mut Manifest| {
        here.ipxe.commit = "3".repeat(40).parse().unwrap();
        here.ipxe.patches.push(PatchEntry { name: "a.patch".into(), sha256: digest("patch") });
    };
    assert_eq!(
        said(pins),
        [
            format!("iPXE's commit: found {}, wanted {}", "3".repeat(40), "1".repeat(40)),
            format!("the patch `a.patch`: found {}, wanted none", digest("patch")),
        ]
    );
}

#[test]
fn flags_and_headers_are_named_one_by_one() {
    let flags = |here: &mut Manifest| {
        here.configurations[0].make = vec!["AUTO_DEPS=".into(), "GITVERSION=def".into(), "CERT=x".into()];
        here.configurations[0].environment.pop();
    };
    assert_eq!(
        said(flags),
        [
            "`CERT` of make: found `x`, wanted none",
            "`GITVERSION` of make: found `def`, wanted `abc`",
            "`SOURCE_DATE_EPOCH` of make: found none, wanted `1`",
        ]
    );
    let header = |here: &mut Manifest| {
        here.configurations[0].sha256 = digest("other config");
        here.files[0].ipxe.as_mut().unwrap().configuration = digest("other config");
        here.configurations[0].headers.insert("general.h".into(), digest("other"));
    };
    assert_eq!(
        said(header),
        [format!(
            "the header `general.h` of the configuration `default`: found {}, wanted {}",
            digest("other"),
            digest("header")
        )]
    );
    let swapped = |here: &mut Manifest| {
        let mut other = here.configurations[0].clone();
        (other.name, other.sha256) = ("small".into(), digest("small"));
        here.configurations.push(other);
        here.files[0].ipxe.as_mut().unwrap().configuration = digest("small");
    };
    assert_eq!(said(swapped), ["the configuration of `ipxe.pxe`: found `small`, wanted `default`"]);
}

#[test]
fn scripts_and_choices_are_compared_by_file() {
    let script = |here: &mut Manifest| {
        let ipxe = here.files[0].ipxe.as_mut().unwrap();
        (ipxe.script, ipxe.slot_sha256) = ("other.ipxe".into(), digest("other"));
    };
    assert_eq!(
        said(script),
        [format!(
            "the script in `ipxe.pxe`: found other.ipxe (slot {}), wanted boot.ipxe (slot {})",
            digest("other"),
            digest("slot")
        )]
    );
    assert_eq!(
        said(|here| here.files.clear()),
        ["`ipxe.pxe`: found no such loader in the configuration, wanted bin/ipxe.pxe"]
    );
}

#[test]
fn causes_end_and_their_texts_are_cut() {
    let (here, mut there) = (manifest(), manifest());
    let long = "p".repeat(1 << 20);
    there.toolchain[0].package = Some(format!("{long}1"));
    there.configurations[0].make.push(format!("{long}={long}"));
    for number in 0..1000 {
        there.files.push(ManifestEntry { path: format!("{number}.efi").into(), ..there.files[0].clone() });
    }
    let (first, total) = causes(&here, &there);
    assert_eq!((first.len(), total), (MAX_CAUSES, 1002));
    let cut = "p".repeat(200);
    assert_eq!(first[0].wanted, format!("{cut}… (1048577 bytes)"));
    assert_eq!(first[1].wanted, format!("`{cut}… (1048576 bytes)`"));
    assert!(first.iter().all(|cause| cause.subject.len() + cause.found.len() + cause.wanted.len() < 800));
    // Differences beyond the length limit count as well.
    let mut other = there.clone();
    other.toolchain[0].package = Some(format!("{long}2"));
    other.configurations[0].make.pop();
    other.configurations[0].make.push(format!("{long}={}q", &long[1..]));
    assert_eq!(causes(&other, &there).1, 2);
}

#[test]
fn a_tool_that_only_one_build_needs_is_no_other_toolchain() {
    let mut here = manifest();
    let cross = ToolEntry { name: "arm64 gcc".into(), ..here.toolchain[0].clone() };
    here.toolchain.push(cross);
    let (causes, _) = causes(&here, &manifest());
    assert!(causes.len() == 1 && causes[0].sort == CauseKind::Toolchain && !causes[0].is_other_toolchain());
    let mut here = manifest();
    here.toolchain[0].package = Some("binutils 2.40-3".into());
    assert!(super::causes(&here, &manifest()).0[0].is_other_toolchain());
}

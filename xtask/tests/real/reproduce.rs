//! Rebuilds of the real loaders: every variation gives the same bytes, and a deliberate change is named as the cause.
//! If the pinned inputs are not available, the tests are skipped, with the reason.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use camino::Utf8PathBuf;
use netboot_fixtures::harness::full;
use netboot_fixtures::project::{CliOutput, rewrite_manifest};
use netboot_fixtures::real::{Real, sources};
use netboot_loaders::tree::manifest::{Manifest, ToolEntry};

netboot_fixtures::tests! {
    with sources;
    everything_varied,
    flags,
    inputs,
    failing,
    ; full:
    another_gcc,
}

/// Runs the program, with the pinned sources and objects of earlier builds in its cache.
fn run(real: &Real, path: &str, arguments: &[&str]) -> CliOutput {
    let mut command = real.command(&[arguments, &["--offline"], Real::compiled_once()].concat());
    CliOutput::from(command.env("PATH", path).output().unwrap())
}

fn usual_path() -> String {
    std::env::var("PATH").unwrap()
}

/// Returns a `PATH` in which `program` is a script.
fn path_with(real: &Real, program: &str, script: &str) -> String {
    let folder = real.cache.join(format!("tools-{program}"));
    let file = folder.join(program);
    netboot_loaders::base::fs::write_atomic(&file, format!("#!/bin/sh\n{script}\n").as_bytes()).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    format!("{folder}:{}", usual_path())
}

/// Configures one EFI loader with `script`.
fn choose(real: &Real, script: &str, config: Option<&str>) {
    let config = config.map(|name| format!("config = \"{name}\"\n")).unwrap_or_default();
    real.sites(&format!("[default]\nloaders = [\"snponly.efi\"]\nscript = \"{script}\"\n{config}"));
}

/// Publishes the build with `path` as `PATH` into its own folder. Returns that folder.
fn publish(real: &Real, name: &str, path: &str) -> Utf8PathBuf {
    let out = real.project.join("published").join(name);
    run(real, path, &["build-loaders", "--out", out.as_str()]).success();
    out
}

fn manifest(tree: &Utf8PathBuf) -> Manifest {
    serde_json::from_slice(&std::fs::read(tree.join("manifest.json")).unwrap()).unwrap()
}

/// Edits the manifest of `tree`.
fn edit(tree: &Utf8PathBuf, change: impl FnOnce(&mut Manifest)) {
    let mut edited = manifest(tree);
    change(&mut edited);
    std::fs::write(tree.join("manifest.json"), edited.to_json()).unwrap();
    rewrite_manifest(tree);
}

fn compare(real: &Real, tree: &Utf8PathBuf, code: i32) -> String {
    let error = run(real, &usual_path(), &["reproduce", "--plain", "--against", tree.as_str()]).error(code);
    println!("{error}");
    error
}

/// One loader, or all six. The repository's own baseline fixes the linked objects, and its digests the output.
fn everything_varied(real: &Real) {
    real.sites("[default]\nloaders = [\"ipxe.efi\"]\nscript = \"root-path.ipxe\"\n");
    real.fetch();
    let (all, which) =
        if full() { (&["--all-loaders"][..], "all 6 loaders are those") } else { (&[][..], "the only loader is that") };
    let ran = run(real, &usual_path(), &[&["reproduce"], all].concat()).success();
    println!("{}", ran.stdout);
    let wanted = format!("reproduced: {which} of the build with nothing varied, byte for byte\n");
    assert!(ran.stdout.starts_with(&wanted), "{}", ran.stdout);
    assert!(ran.stdout.contains("\n2 builds\n"));
}

/// Two flags of make, or also the one without which all objects differ.
fn flags(real: &Real) {
    real.fetch();
    choose(real, "root-path.ipxe", None);
    let honest = publish(real, "honest", &usual_path());
    let tools: Vec<ToolEntry> = manifest(&honest).toolchain;
    let without = |flag: &str, script: &str| {
        let tree = publish(real, flag, &path_with(real, "make", script));
        // The tool that did this is one cause; a release built with the same tools must be explained, too.
        let error = compare(real, &tree, 11);
        assert!(error.lines().nth(1).unwrap().starts_with("  `make`: found "), "{error}");
        edit(&tree, |manifest| {
            manifest.toolchain.clone_from(&tools);
            for configuration in &mut manifest.configurations {
                configuration.make.retain(|word| !word.starts_with(flag));
                configuration.environment.retain(|word| !word.starts_with(flag));
            }
        });
        let error = compare(real, &tree, 12);
        assert!(error.contains(&format!("  `{flag}` of make: found ")) && error.contains(", wanted none\n"), "{error}");
        error
    };
    let drop = |flag: &str| {
        format!(
            "for word; do shift; case $word in {flag}=*) ;; *) set -- \"$@\" \"$word\" ;; esac; done\nexec /usr/bin/make \"$@\""
        )
    };
    let error = without("SOURCE_DATE_EPOCH", "unset SOURCE_DATE_EPOCH\nexec /usr/bin/make \"$@\"");
    assert!(error.contains(", in .data at ") && error.contains(", `build_timestamp`\n"), "{error}");
    let error = without("GITVERSION", &drop("GITVERSION"));
    let commit = &real.pin().commit.to_string()[..5];
    assert!(error.contains(&format!("  text, found: {} (g{commit})\n", real.pin().version)), "{error}");
    assert!(error.contains(&format!("  text, wanted: {}\n", real.pin().version)), "{error}");
    if !full() {
        return;
    }
    let error = without("EXTRA_CFLAGS", &drop("EXTRA_CFLAGS"));
    assert!(error.contains(", `build_id`\n"), "{error}");
    assert!(error.contains("  nothing else differs but iPXE's build id, a checksum over all objects"), "{error}");
}

fn inputs(real: &Real) {
    real.fetch();
    choose(real, "root-path.ipxe", None);
    let tree = publish(real, "inputs", &usual_path());
    choose(real, "robust.ipxe", None);
    let error = compare(real, &tree, 12);
    assert!(error.contains("  the script in `snponly.efi`: found robust.ipxe (slot "), "{error}");
    assert!(error.contains(", `embedded_image_1_data`"), "{error}");
    choose(real, "root-path.ipxe", Some("diagnostics"));
    let error = compare(real, &tree, 12);
    assert!(error.contains("  the configuration `default`: found none, wanted "), "{error}");
    assert!(error.contains("  linked only here: command ping\n"), "{error}");
    choose(real, "root-path.ipxe", None);
    let mut content = std::fs::read(tree.join("snponly.efi")).unwrap();
    let at = memchr_of(&content, b"Nothing to boot");
    content[at] ^= 0x20;
    std::fs::write(tree.join("snponly.efi"), content).unwrap();
    rewrite_manifest(&tree);
    let error = compare(real, &tree, 12);
    assert!(
        error.contains(&format!(
            "  1 of {} bytes differs, the first difference is at {at:#x}, in .",
            std::fs::metadata(tree.join("snponly.efi")).unwrap().len()
        )),
        "{error}"
    );
    assert!(error.contains("Nothing to boot") && error.contains("nothing to boot"), "{error}");
}

/// Returns the offset of `text` in `content`.
fn memchr_of(content: &[u8], text: &[u8]) -> usize {
    content.windows(text.len()).position(|window| window == text).unwrap()
}

/// A changed tool other than make, which `flags` covers.
fn another_gcc(real: &Real) {
    real.fetch();
    choose(real, "root-path.ipxe", None);
    let version = |name: &str| {
        let output = Command::new(name).arg("-dumpversion").output().ok()?;
        Some(output.stdout).filter(|_| output.status.success())
    };
    let others = ["gcc-11", "gcc-12", "gcc-13", "gcc-14", "gcc-10", "gcc-15"].into_iter();
    let mut others = others.filter(|name| version(name).is_some_and(|other| Some(other) != version("gcc")));
    // If no second gcc is installed, one with other optimisation flags counts as another.
    let script = match others.next() {
        Some(other) => format!("exec {other} \"$@\""),
        None => "exec /usr/bin/gcc \"$@\" -fno-inline-small-functions".to_owned(),
    };
    println!("another gcc: {script}");
    let tree = publish(real, "another-gcc", &path_with(real, "gcc", &script));
    let error = compare(real, &tree, 11);
    let second = error.lines().nth(1).unwrap();
    assert!(second.starts_with("  `gcc`: found ") && second.contains(" (") && second.contains("gcc "), "{error}");
}

fn failing(real: &Real) {
    real.fetch();
    let header = real.project.join("vendor/ipxe-config/broken/general.h");
    netboot_loaders::base::fs::write_atomic(&header, b"#error broken on purpose\n").unwrap();
    choose(real, "root-path.ipxe", Some("broken"));
    let error = run(real, &usual_path(), &["reproduce", "--plain"]).error(7);
    assert!(error.contains("broken on purpose"), "{error}");
}

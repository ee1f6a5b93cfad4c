//! Linters for workflows and spelling, and other pinned programs: installed below `target/` on request only.

use std::collections::BTreeSet;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use netboot_loaders::base::fs;
use netboot_loaders::base::process::{Command, find_program};

use super::check::succeeds;
use crate::exit::Failure;
use crate::host::{Host, whole_environment};
use crate::program::name;
use crate::ui::{Ui, pass_on};
use netboot_loaders::base::diagnostic::Class;

/// Subject of each check, its linter, and the arguments before the workflow files, which all but `typos` take. With
/// these arguments, no result depends on the machine or the network.
const LINTERS: [(&str, &str, &[&str]); 3] = [
    // Its helper programs are installed on some machines only.
    (WORKFLOWS, "actionlint", &["-no-color", "-shellcheck=", "-pyflakes="]),
    (WORKFLOWS, "zizmor", &["--offline", "--persona=auditor", "--strict-collection", "--no-progress", "--quiet"]),
    ("spelling", "typos", &["--isolated", "--config", "typos.toml", "--color", "never"]),
];

const WORKFLOWS: &str = "workflows";

/// Results of the linters.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Linted {
    /// Subjects in which a linter has found something.
    pub failed: BTreeSet<&'static str>,
    /// Linters that could not run, with the reasons.
    pub skipped: Vec<String>,
}

/// Runs the linters on the project.
pub(super) fn run(install: bool, host: &Host<'_>) -> Result<Linted, Failure> {
    let workflows = workflows(&host.project.github().join("workflows"))?;
    let (path, reason) = installed(&LINTERS.map(|(_, name, _)| name), install, host)?;
    lint(&path, host.project.root(), &workflows, &reason, host.ui)
}

/// Returns the search path that begins with the pinned `programs`, which are installed first if that is wanted and one
/// is missing; and the reason why one may still be missing.
pub(super) fn installed(programs: &[&str], install: bool, host: &Host<'_>) -> Result<(String, String), Failure> {
    let pinned = host.project.linters();
    let folder = host.project.installed_linters(&fs::sha256(&pinned)?.0);
    let missing = programs.iter().any(|name| works(&folder.join("bin").join(name), &host.path, host.ui).is_none());
    let mut reason = format!("not found, `{} check --install-deps` installs it", name());
    if install && missing {
        host.ui.print(&format!("== pinned programs: installing them in {folder}\n"));
        reason = install_pinned(&pinned, &folder, host)?;
    }
    Ok((format!("{folder}/bin:{}", host.path), reason))
}

/// Returns the version of `package` in the list of pinned programs, if the list has it.
pub(super) fn pinned_version(package: &str, host: &Host<'_>) -> Result<Option<String>, Failure> {
    let pinned = fs::read(&host.project.linters())?;
    let version = |line: &str| Some(line.strip_prefix(package)?.strip_prefix("==")?.split(' ').next()?.to_owned());
    Ok(String::from_utf8_lossy(&pinned).lines().find_map(version))
}

/// Runs the linters that are in `path`, in the folder `root`. Those that are not found are skipped for `reason`.
fn lint(path: &str, root: &Utf8Path, workflows: &[Utf8PathBuf], reason: &str, ui: &Ui) -> Result<Linted, Failure> {
    let mut linted = Linted::default();
    for (what, name, args) in LINTERS {
        let found = find_program(name, path).and_then(|program| Some((works(&program, path, ui)?, program)));
        let Some((version, program)) = found else {
            linted.skipped.push(format!("{what} ({name}): {reason}"));
            continue;
        };
        ui.print(&format!("== {what}: {name} {} ({version})\n", args.join(" ")));
        let files = workflows.iter().filter(|_| what == WORKFLOWS).map(|file| file.as_str());
        let linter = clean(&program, path).args(args.iter().copied().chain(files));
        let linter = Command { dir: Some(root.to_owned()), ..linter };
        if !succeeds(&linter, ui, &mut pass_on)? {
            linted.failed.insert(what);
        }
    }
    Ok(linted)
}

/// Returns a command without the environment, which may contain secrets.
fn clean(program: &Utf8Path, path: &str) -> Command {
    let command = Command::new("check the project", program.as_str()).env("PATH", path);
    Command { deadline: Duration::MAX, ..command }
}

/// Returns the version that a program prints; `None` if it does not run.
pub(super) fn works(program: &Utf8Path, path: &str, ui: &Ui) -> Option<String> {
    let output = clean(program, path).args(["--version"]).output(ui).ok()?;
    Some(output.into_iter().next().unwrap_or_default())
}

fn workflows(folder: &Utf8Path) -> Result<Vec<Utf8PathBuf>, Failure> {
    let mut files: Vec<Utf8PathBuf> = fs::walk(folder)?.into_iter().map(|(path, _)| folder.join(path)).collect();
    files.retain(|path| matches!(path.extension(), Some("yml" | "yaml")));
    Ok(files)
}

/// Installs the linters listed in `pinned`, with the digests given there, into `folder`. Returns the reason why one may
/// still be missing afterwards.
fn install_pinned(pinned: &Utf8Path, folder: &Utf8Path, host: &Host<'_>) -> Result<String, Failure> {
    let run = |program: &str, args: &[&str]| {
        let command = Command::new("install linters", program).args(args.iter().copied());
        let command = Command { env: whole_environment(), deadline: Duration::MAX, ..command }.env("PATH", &host.path);
        let mut text = String::new();
        let done = succeeds(&command, host.ui, &mut |line| {
            host.ui.print(&format!("{line}\n"));
            text += &format!("{line}\n");
        })?;
        Ok::<_, Failure>((done, text))
    };
    if find_program("python3", &host.path).is_none() {
        return Ok("found no `python3` to install it".to_owned());
    }
    if !run("python3", &["-m", "venv", "--clear", folder.as_str()])?.0 {
        return Ok("`python3 -m venv` failed, so it could not be installed".to_owned());
    }
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:", "--no-deps"];
    let what = ["--require-hashes", "--requirement", pinned.as_str()];
    let (done, text) = run(folder.join("bin/python").as_str(), &[&pip[..], &what].concat())?;
    // A linter that differs from its pin is a failure; one that is not available is skipped.
    if text.contains("DO NOT MATCH THE HASHES") {
        let text = format!("a program differs from its pin in `{pinned}`");
        return Err(Failure::new(Class::Mismatch, text).help("find out which of the two is right"));
    }
    Ok(if done { "it was installed and does not run" } else { "pip could not install it" }.to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::cli::MessageFormat;

    #[test]
    fn a_linter_finds_something_or_nothing_or_is_skipped() {
        let folder = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap();
        let files = [Utf8PathBuf::from("ci.yml")];
        let ui = Ui::new(true, MessageFormat::Human);
        let linted = || lint(&format!("{root}:/usr/bin:/bin"), root, &files, "no network", &ui).unwrap();
        let linter = |name: &str, script: &str| {
            let file = root.join(name);
            let text = format!("#!/bin/sh\ntest \"$1\" = --version && {{ echo 1; exit; }}\n{script}\n");
            std::fs::write(&file, text).unwrap();
            std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
        };
        linter("zizmor", "test \"$1\" = --offline || exit 3; for last; do :; done; test \"$last\" = ci.yml");
        linter("actionlint", "exit 1");
        linter("typos", "for last; do :; done; test \"$last\" = never");
        assert_eq!(linted(), Linted { failed: [WORKFLOWS].into(), skipped: vec![] });
        linter("actionlint", "test -z \"$HOME\"");
        assert_eq!(linted(), Linted::default());
        linter("typos", "exit 2");
        assert_eq!(linted(), Linted { failed: ["spelling"].into(), skipped: vec![] });
        linter("typos", "exit 0");
        // A linter whose interpreter is missing counts as not found.
        std::fs::write(root.join("actionlint"), "#!/no/python\n").unwrap();
        assert_eq!(
            linted(),
            Linted { skipped: vec!["workflows (actionlint): no network".to_owned()], ..Linted::default() }
        );
    }
}

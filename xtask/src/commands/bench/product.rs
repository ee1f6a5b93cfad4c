//! The product as a person runs it: `build-loaders` as a process, for a project of its own.

use netboot_loaders::plural::count;
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;
use netboot_loaders::fs;
use netboot_loaders::paths::Project;
use netboot_loaders::process::Command;
use netboot_loaders::tree::checked::CheckedTree;
use serde_json::Value;

use super::Setting;
use super::memory::peak_during;
use crate::exit::{FAILURE, Failure};
use crate::host::own_program;

/// A project that has the facts of the project that is measured, and other choices; and its tree.
pub(super) struct Product<'a> {
    setting: &'a Setting<'a>,
    project: Project,
    out: Utf8PathBuf,
}

/// A run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    /// From the start of the process to its end.
    pub seconds: f64,
    /// The most memory that all its processes had together.
    pub mebibytes: f64,
}

impl<'a> Product<'a> {
    /// A project with `choices`, each a name in `embed-scripts/` and its text. There is no tree yet.
    pub fn new(setting: &'a Setting<'a>, choices: &[(&str, &str)]) -> Result<Self, Failure> {
        let project = Project::new(setting.room("project")?);
        let [facts, _] = setting.host.project.facts_and_choices();
        let [own, _] = project.facts_and_choices();
        for (path, _) in fs::walk(&facts)? {
            fs::write_atomic(&own.join(&path), &fs::read(&facts.join(&path))?)?;
        }
        let product = Self { setting, project, out: setting.room("out")? };
        for (name, text) in choices {
            product.choose(name, text)?;
        }
        Ok(product)
    }

    /// Its project.
    pub fn project(&self) -> &Project {
        &self.project
    }

    /// Its tree.
    pub fn tree(&self) -> Utf8PathBuf {
        self.out.join("tftp")
    }

    /// Where an inventory of its sites is, if it has one.
    pub fn inventory(&self) -> Utf8PathBuf {
        self.project.scripts().join("sites.csv")
    }

    /// Writes one of its choices.
    pub fn choose(&self, name: &str, text: &str) -> Result<(), Failure> {
        Ok(fs::write_atomic(&self.project.scripts().join(name), text.as_bytes())?)
    }

    /// Removes its tree, and all that is kept beside that.
    pub fn forget(&self) -> Result<(), Failure> {
        fs::remove_dir_all(&self.out)?;
        fs::create_dir_all(&self.out)?;
        // What one run left to be written must not be the next one's burden.
        Ok(fs::sync_all_of(&self.out, self.setting.host.ui)?)
    }

    /// Makes sure that its tree is as its manifest says: what is not whole is quickly published.
    pub fn check(&self) -> Result<(), Failure> {
        Ok(CheckedTree::open(&self.tree(), &self.out, self.setting.host.ui).map(drop)?)
    }

    /// Runs `build-loaders`, and makes sure that it stamps `wanted` loaders.
    pub fn run(&self, wanted: u64) -> Result<Run, Failure> {
        let (run, stamped) = self.start()?;
        if stamped == Some(wanted) {
            return Ok(run);
        }
        let found = stamped.map_or("an unknown number of loaders".into(), |stamped| count(stamped, "loader"));
        let text = format!("`build-loaders` stamped {found}, wanted {wanted}, so its time says nothing");
        Err(Failure::new(FAILURE, &text))
    }

    /// Runs `build-loaders` without looking at what it did, so that bases are there.
    pub fn prepare(&self) -> Result<(), Failure> {
        self.start().map(drop)
    }

    /// Runs `build-loaders`. Returns, too, how many loaders it stamped.
    fn start(&self) -> Result<(Run, Option<u64>), Failure> {
        let Setting { host, cache, .. } = self.setting;
        let (project, inventory) = (self.project.root(), self.inventory());
        let mut command = Command::new("measure `build-loaders`", own_program()?.as_str())
            .args(["--message-format", "json", "--project", project.as_str(), "--cache-dir", cache.root().as_str()])
            .args(["build-loaders", "--offline", "--out", self.tree().as_str()])
            .env("PATH", host.path.as_str());
        if inventory.is_file() {
            command = command.args(["--sites", inventory.as_str()]);
        }
        command.deadline = Duration::from_secs(4 * 3600);
        let work = || {
            let started = Instant::now();
            let output = command.output(host.ui);
            (started.elapsed().as_secs_f64(), output)
        };
        let ((seconds, output), bytes) = peak_during(work);
        #[expect(clippy::cast_precision_loss, reason = "a measured size")]
        let mebibytes = bytes as f64 / f64::from(1 << 20);
        Ok((Run { seconds, mebibytes }, stamped(&output?)))
    }
}

/// How many loaders were stamped, by what `build-loaders` says in the end.
fn stamped(lines: &[String]) -> Option<u64> {
    let objects = lines.iter().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    objects.into_iter().find(|object| object["event"] == "result")?["loaders-stamped"].as_u64()
}

/// An inventory of `count` sites, each with an address of its own.
pub(super) fn inventory(count: u32) -> String {
    let rows = (1..=count).map(|number| format!("{},{}\n", site(number), address(&site(number))));
    std::iter::once("name,boot_url\n".to_owned()).chain(rows).collect()
}

/// What the site `number` is called.
pub(super) fn site(number: u32) -> String {
    format!("site-{number:06}")
}

/// The address of `site`.
pub(super) fn address(site: &str) -> String {
    format!("http://192.0.2.10/{site}.ipxe")
}

/// The choices of a project with `loaders`, which run the script `script`.
pub(super) fn choices(loaders: &[impl std::fmt::Display], script: &str) -> String {
    let loaders: Vec<String> = loaders.iter().map(|loader| format!("\"{loader}\"")).collect();
    let members = "[\"lpxelinux.0\", \"ldlinux.c32\", \"syslinux.efi\", \"ldlinux.e64\"]";
    format!(
        "[default]\nloaders = [{}]\nscript = \"{script}\"\nvars = {{ boot_url = \"{}\" }}\n\n[syslinux]\nmembers = {members}\n",
        loaders.join(", "),
        address("default"),
    )
}

/// The name of the script of sites in a project.
pub(super) const SCRIPT: &str = "site.ipxe";

/// A script that goes to `url`: an address, or in a template what stands for one.
pub(super) fn script(url: &str) -> String {
    format!("#!ipxe\ndhcp && chain --autofree {url}\n")
}

/// The same as a template.
pub(super) fn template() -> String {
    script("{{ boot_url }}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_site_has_its_own_address() {
        assert_eq!(
            inventory(2),
            "name,boot_url\nsite-000001,http://192.0.2.10/site-000001.ipxe\nsite-000002,http://192.0.2.10/site-000002.ipxe\n"
        );
    }

    #[test]
    fn the_last_result_counts() {
        let lines = ["{\"event\":\"started\"}", "noise", "{\"event\":\"result\",\"loaders-stamped\":3}", "noise"];
        assert_eq!(stamped(&lines.map(str::to_owned)), Some(3));
        assert_eq!(stamped(&[]), None);
    }
}

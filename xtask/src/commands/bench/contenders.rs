//! Contenders: `build-loaders` as a user runs it, as a process for a project of its own, and iPXE as users build it, in
//! a source tree with the usual arguments of make.

use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use netboot_loaders::base::fs;
use netboot_loaders::base::paths::{Cache, ProjectPaths};
use netboot_loaders::base::plural::count;
use netboot_loaders::base::process::Command;
use netboot_loaders::base::progress::Muted;
use netboot_loaders::build_loaders;
use netboot_loaders::fetch::ipxe::{Order, Source};
use netboot_loaders::loader::target::Loader;
use netboot_loaders::tree::open::CheckedTree;
use serde_json::Value;

use super::memory::peak_during;
use super::{BenchContext, LOADERS};
use crate::exit::Failure;
use crate::host::{own_program, processors};
use netboot_loaders::base::diagnostic::Class;

/// Time and memory of a run of `build-loaders`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    /// Time from the start of the process to its end.
    pub seconds: f64,
    /// Peak memory of all its processes together.
    pub mebibytes: f64,
}

/// Runs of `build-loaders`.
impl BenchContext<'_> {
    /// Returns a project with the pins of the measured project and a configuration of its own.
    pub fn project(&self) -> ProjectPaths {
        ProjectPaths::new(self.scratch.join("project"))
    }

    /// Returns the tree of that project.
    pub fn tree(&self) -> Utf8PathBuf {
        self.scratch.join("out/tftp")
    }

    /// Returns the path of its inventory of sites, which may not exist.
    pub fn inventory(&self) -> Utf8PathBuf {
        self.project().scripts().join("sites.csv")
    }

    /// Creates the project anew, with these `loaders` and with `script` as their script. Its tree is removed.
    pub fn reset_project(&self, loaders: &[Loader], script: &str) -> Result<(), Failure> {
        self.empty_scratch_dir("project")?;
        let [facts, _] = self.host.project.vendor_and_config_dirs();
        let [own, _] = self.project().vendor_and_config_dirs();
        fs::symlink(&facts, &own)?;
        self.write_project_file("sites.toml", &sites_toml(loaders))?;
        self.write_project_file(SCRIPT, script)?;
        self.remove_tree()
    }

    /// Writes a file of its configuration.
    pub fn write_project_file(&self, name: &str, text: &str) -> Result<(), Failure> {
        Ok(fs::write_atomic(&self.project().scripts().join(name), text.as_bytes())?)
    }

    /// Removes its tree, and everything beside the tree.
    pub fn remove_tree(&self) -> Result<(), Failure> {
        // Unwritten data of one run must not slow down the next one.
        Ok(fs::sync_all_of(&self.empty_scratch_dir("out")?, self.host.ui)?)
    }

    /// Checks that its tree matches the manifest: an incomplete tree is published too fast.
    pub fn check(&self) -> Result<(), Failure> {
        Ok(CheckedTree::open(&self.tree(), &self.scratch.join("out"), self.host.ui).map(drop)?)
    }

    /// Runs `build-loaders` for the project and checks that it stamps `wanted` loaders. With `None`, any number is
    /// accepted: such a run only prepares the bases.
    pub fn build(&self, wanted: impl Into<Option<u64>>) -> Result<Run, Failure> {
        let (inventory, wanted) = (self.inventory(), wanted.into());
        let sites: &[&str] = if inventory.is_file() { &["--sites", inventory.as_str()] } else { &[] };
        let (run, stamped) = self.build_loaders(&self.project(), &self.cache, &self.tree(), sites)?;
        let Some(wanted) = wanted.filter(|wanted| stamped != Some(*wanted)) else { return Ok(run) };
        let found = stamped.map_or("an unknown number of loaders".into(), |stamped| count(stamped, "loader"));
        let text = format!("`build-loaders` stamped {found}, wanted {wanted}, so its time says nothing");
        Err(Failure::new(Class::Failure, text))
    }

    /// Runs `build-loaders` with further `arguments`. Also returns how many loaders it stamped.
    pub fn build_loaders(
        &self,
        project: &ProjectPaths,
        cache: &Cache,
        tree: &Utf8Path,
        arguments: &[&str],
    ) -> Result<(Run, Option<u64>), Failure> {
        let (project, cache) = (project.root().as_str(), cache.root().as_str());
        let mut command = Command::new("measure `build-loaders`", own_program()?.as_str())
            .args(["--message-format", "json", "--project", project, "--cache-dir", cache])
            .args(["build-loaders", "--offline", "--out", tree.as_str()])
            .args(arguments.iter().copied())
            .env("PATH", self.host.path.as_str());
        command.deadline = Duration::from_secs(4 * 3600);
        let ((output, seconds), bytes) = peak_during(|| {
            let started = Instant::now();
            (command.output(self.host.ui), started.elapsed().as_secs_f64())
        });
        #[expect(clippy::cast_precision_loss, reason = "a measured size")]
        let mebibytes = bytes as f64 / f64::from(1 << 20);
        Ok((Run { seconds, mebibytes }, stamped(&output?)))
    }
}

/// Runs of stock make.
impl BenchContext<'_> {
    /// Exports a source tree to the scratch folder `name`, equivalent to a clone, and returns the folder.
    pub fn export(&self, name: &str) -> Result<Utf8PathBuf, Failure> {
        let (root, pin, quiet) = (self.empty_scratch_dir(name)?, &self.inputs.pins.ipxe, Muted(self.host.ui));
        let source = Source::open(pin, &self.cache, &[], &quiet).map_err(build_loaders::Error::from)?;
        source
            .export(&root.join("ipxe"), (pin.epoch, Order::Sorted), "iPXE\'s source", &quiet)
            .map_err(build_loaders::Error::from)?;
        Ok(root)
    }

    /// Returns a source tree in which all loaders were built before. It is kept for the next measurement.
    pub fn built_stock_tree(&self) -> Result<Utf8PathBuf, Failure> {
        let root = self.scratch.join("stock");
        let made = format!(
            "{} {}\n",
            self.inputs.pins.ipxe.commit,
            self.inputs.toolchain.digest(netboot_loaders::toolchain::cross::host())
        );
        let mark = root.join("made");
        if fs::read_if_exists(&mark)?.is_none_or(|found| found != made.as_bytes()) {
            self.print("making loaders with stock make once, to have a tree that is built");
            let script = embedded(&self.export("stock")?, "first", "#!ipxe\nshell\n")?;
            // The first make of a second platform touches headers, so that the first platform is compiled once more.
            for _ in 0..2 {
                self.make(&root, &script, &LOADERS)?;
            }
            fs::write_atomic(&mark, made.as_bytes())?;
        }
        Ok(root)
    }

    /// Runs what a user types in the source tree `root`: `make -jN EMBED=SCRIPT` and the loaders. Returns the seconds.
    pub fn make(&self, root: &Utf8Path, script: &Utf8Path, loaders: &[Loader]) -> Result<f64, Failure> {
        let mut make = Command::new("make loaders as people do", "make")
            .args([format!("-j{}", processors()), format!("EMBED={script}")])
            .args(loaders.iter().map(|loader| loader.target()))
            .env("PATH", self.host.path.as_str());
        make.dir = Some(root.join("ipxe/src"));
        make.deadline = Duration::from_secs(3600);
        let started = Instant::now();
        make.output(self.host.ui)?;
        Ok(started.elapsed().as_secs_f64())
    }
}

/// Writes a script to embed, beside the source tree `root`, and returns its path.
pub(super) fn embedded(root: &Utf8Path, name: &str, text: &str) -> Result<Utf8PathBuf, Failure> {
    let path = root.join("scripts").join(format!("{name}.ipxe"));
    fs::write_atomic(&path, text.as_bytes())?;
    Ok(path)
}

/// Returns how many loaders were stamped, according to the last result of `build-loaders`.
fn stamped(lines: &[String]) -> Option<u64> {
    let mut objects = lines.iter().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    objects.find(|object| object["event"] == "result")?["loaders-stamped"].as_u64()
}

/// Returns an inventory of `count` sites, each with an address of its own.
pub(super) fn inventory(count: u32) -> String {
    let rows = (1..=count).map(|number| format!("{},{}\n", site(number), address(&site(number))));
    std::iter::once("name,boot_url\n".to_owned()).chain(rows).collect()
}

/// Returns the name of the site `number`.
pub(super) fn site(number: u32) -> String {
    format!("site-{number:06}")
}

/// Returns the address of `site`.
pub(super) fn address(site: &str) -> String {
    format!("http://192.0.2.10/{site}.ipxe")
}

/// Returns the `sites.toml` of a project with `loaders`.
pub(super) fn sites_toml(loaders: &[Loader]) -> String {
    let loaders: Vec<String> = loaders.iter().map(|loader| format!("\"{loader}\"")).collect();
    let (loaders, address) = (loaders.join(", "), address("default"));
    let members = "[\"lpxelinux.0\", \"ldlinux.c32\", \"syslinux.efi\", \"ldlinux.e64\"]";
    format!(
        "[default]\nloaders = [{loaders}]\nscript = \"{SCRIPT}\"\nvars = {{ boot_url = \"{address}\" }}\n\n\
         [syslinux]\nmembers = {members}\n"
    )
}

/// Name of the script of all loaders in a project.
pub(super) const SCRIPT: &str = "site.ipxe";

/// Returns a script that chains to `url`: an address, or in a template the variable for one.
pub(super) fn script(url: &str) -> String {
    format!("#!ipxe\ndhcp && chain --autofree {url}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_site_has_its_own_address() {
        let rows = "site-000001,http://192.0.2.10/site-000001.ipxe\nsite-000002,http://192.0.2.10/site-000002.ipxe\n";
        assert_eq!(inventory(2), format!("name,boot_url\n{rows}"));
    }

    #[test]
    fn the_last_result_counts() {
        let lines = ["{\"event\":\"started\"}", "noise", "{\"event\":\"result\",\"loaders-stamped\":3}", "noise"];
        assert_eq!(stamped(&lines.map(str::to_owned)), Some(3));
        assert_eq!(stamped(&[]), None);
    }
}

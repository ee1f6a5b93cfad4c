//! Rebuilds all loaders under varied conditions and compares every byte: of two builds, or of one build and a published
//! release. If bytes differ, reports the reasons.
//!
//! [`variation`] lists the conditions that can vary, [`rebuild`] runs one build, and [`published`] opens the release to
//! compare with. [`cause`] looks for reasons in the inputs, [`bytes`] and [`objects`] in the outputs, and [`report`]
//! combines the results.

pub mod against_make;
pub mod bytes;
pub mod cause;
pub mod objects;
pub mod published;
pub mod rebuild;
pub mod report;
pub mod variation;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use camino::{Utf8Path, Utf8PathBuf};

use self::cause::Cause;
use self::published::PublishedTree;
use self::rebuild::{PlannedRebuild, Rebuild, RebuildContext, loaders};
use self::report::{BuildTime, Compared, LinkedDrift, LoaderDifference, ReproduceReport, ReproduceVerdict};
use self::variation::{HOME, HOSTNAME, Variation};
use crate::base::diagnostic::{Diagnose, Diagnosis};
use crate::base::{fs, parallel, paths};
use crate::digest::Sha256Digest;
use crate::loader::link_map::LinkMap;
use crate::loader::linked_objects::LinkedObjects;
use crate::loader::signature;
use crate::loader::target::Loader;
use crate::printable::printable;
use crate::tree::manifest::{Embedded, Manifest, ManifestEntry};

/// Maximum number of loaders whose differences a report describes.
const MAX_EXPLAINED: usize = 1000;

/// Errors from reproducing a build.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A build failed, or could not start.
    #[error("{}{error}", under(variations))]
    Build {
        /// Variations of the build.
        variations: Vec<Variation>,
        /// Reason for the failure.
        error: Box<rebuild::Error>,
    },
    /// Opening the published release failed.
    #[error(transparent)]
    Published(#[from] published::Error),
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::Build { error, .. } => error.diagnosis(),
            Self::Published(error) => error.diagnosis(),
            Self::Fs(error) => error.diagnosis(),
        }
    }
}

fn under(variations: &[Variation]) -> String {
    let names: Vec<&str> = variations.iter().map(|variation| variation.as_str()).collect();
    if names.is_empty() { String::new() } else { format!("the build with variations ({}) failed\n", names.join(", ")) }
}

/// Digests by path. Paths are strings because paths are slow to compare, and a release may have many.
type Digests = BTreeMap<String, Sha256Digest>;

/// Reference to compare with.
#[derive(Clone, Copy)]
enum Reference<'r> {
    Rebuild(&'r Rebuild),
    Published(&'r PublishedTree),
}

/// Builds under the variations `asked` and compares the result with `against` or, if that is `None`, with a build
/// without variations. Stores copies of files that differ below `evidence`.
///
/// # Errors
///
/// [`Error`] if a comparison is impossible. Differing bytes are not an error.
pub fn reproduce(
    context: &RebuildContext<'_>,
    asked: &BTreeSet<Variation>,
    against: Option<&PublishedTree>,
    evidence: &Utf8Path,
) -> Result<ReproduceReport, Error> {
    let mut run = Run { context, planned: loaders(context.build.plan), builds: Vec::new() };
    fs::remove_dir_all(evidence)?;
    let none = BTreeSet::new();
    let Some(published) = against else {
        let plain = run.build(&none)?;
        let varied = run.build(asked)?;
        let reference = Reference::Rebuild(&plain);
        return if Run::found(&varied, reference) == Run::wanted(&varied, reference) {
            Ok(run.report(&varied, reference))
        } else {
            let (culprits, build) = run.narrow(asked, varied, &plain)?;
            run.explain(&build, reference, &culprits, evidence)
        };
    };
    let varied = run.build(asked)?;
    let reference = Reference::Published(published);
    if Run::found(&varied, reference) == Run::wanted(&varied, reference) {
        return Ok(run.report(&varied, reference));
    }
    if asked.is_empty() {
        return run.explain(&varied, reference, &[], evidence);
    }
    // Either the release differs, or a variation has an effect.
    let plain = run.build(&none)?;
    if Run::digests(&plain) == Run::digests(&varied) {
        return run.explain(&plain, reference, &[], evidence);
    }
    let (culprits, build) = run.narrow(asked, varied, &plain)?;
    if Run::found(&plain, reference) == Run::wanted(&plain, reference) {
        return run.explain(&build, Reference::Rebuild(&plain), &culprits, evidence);
    }
    let mut report = run.explain(&plain, reference, &[], evidence)?;
    report.besides = culprits.iter().map(ToString::to_string).collect();
    Ok(report)
}

/// Files that cannot be compared byte for byte with those of a signed tree, since a signature cannot be made again.
#[derive(Default)]
struct SignedFiles<'m> {
    /// Loaders, of which what is signed is compared.
    loaders: BTreeSet<&'m Utf8Path>,
    /// Boot media with such loaders, which are left out.
    media: BTreeSet<&'m Utf8Path>,
}

impl<'m> SignedFiles<'m> {
    /// Finds them in `rebuilt`, the manifest of the build here: what a release says of itself does not count.
    fn of(rebuilt: &'m Manifest) -> Self {
        let secure = |file: &&ManifestEntry| file.authenticode_sha256.is_some();
        let loaders = rebuilt.files.iter().filter(secure);
        let kinds: BTreeSet<Loader> =
            loaders.clone().flat_map(|file| file.ipxe.iter().flat_map(Embedded::loaders)).collect();
        let has_signed = |file: &&ManifestEntry| {
            file.kind.is_medium() && file.ipxe.iter().flat_map(Embedded::loaders).any(|loader| kinds.contains(&loader))
        };
        let media = rebuilt.files.iter().filter(has_signed);
        Self { loaders: loaders.map(|file| &*file.path).collect(), media: media.map(|file| &*file.path).collect() }
    }

    /// Returns what is compared of all files of a tree.
    fn digests(&self, manifest: &Manifest) -> Digests {
        let digest = |file: &ManifestEntry| {
            let signed = file.authenticode_sha256.filter(|_| self.loaders.contains(&*file.path));
            signed.unwrap_or(file.sha256)
        };
        let compared = manifest.files.iter().filter(|file| !self.media.contains(&*file.path));
        compared.map(|file| (file.path.to_string(), digest(file))).collect()
    }
}

/// State of a run.
struct Run<'a> {
    context: &'a RebuildContext<'a>,
    planned: Vec<PlannedRebuild>,
    builds: Vec<BuildTime>,
}

impl Run<'_> {
    fn build(&mut self, variations: &BTreeSet<Variation>) -> Result<Rebuild, Error> {
        let build = self.context.build(self.builds.len() + 1, variations).map_err(|error| Error::Build {
            variations: variations.iter().copied().collect(),
            error: Box::new(error),
        })?;
        let variations = variations.iter().map(ToString::to_string).collect();
        self.builds.push(BuildTime { variations, seconds: build.took.as_secs_f64() });
        Ok(build)
    }

    fn digests(build: &Rebuild) -> Digests {
        let loaders = build.manifest.files.iter().filter(|file| file.ipxe.is_some());
        loaders.map(|file| (file.path.to_string(), file.sha256)).collect()
    }

    fn signed<'b>(build: &'b Rebuild, published: &PublishedTree) -> SignedFiles<'b> {
        if published.is_signed() { SignedFiles::of(&build.manifest) } else { SignedFiles::default() }
    }

    /// Returns the digests from `build` of the files that are compared with `reference`.
    fn found(build: &Rebuild, reference: Reference<'_>) -> Digests {
        match reference {
            Reference::Rebuild(_) => Self::digests(build),
            Reference::Published(published) => Self::signed(build, published).digests(&build.manifest),
        }
    }

    /// Returns what `build` has to have.
    fn wanted(build: &Rebuild, reference: Reference<'_>) -> Digests {
        match reference {
            Reference::Rebuild(build) => Self::digests(build),
            Reference::Published(published) => Self::signed(build, published).digests(published.manifest()),
        }
    }

    /// Bisects `suspects`, the variations of the build `varied`, to find those that make a difference to `plain`.
    /// Returns several only if neither half of them makes a difference on its own, and none if builds differ without
    /// any variation. If several make a difference on their own, returns one of them.
    fn narrow(
        &mut self,
        suspects: &BTreeSet<Variation>,
        varied: Rebuild,
        plain: &Rebuild,
    ) -> Result<(Vec<Variation>, Rebuild), Error> {
        let (mut suspects, mut build): (Vec<Variation>, _) = (suspects.iter().copied().collect(), varied);
        if suspects.is_empty() {
            return Ok((suspects, build));
        }
        let control = self.build(&BTreeSet::new())?;
        if Self::digests(&control) != Self::digests(plain) {
            return Ok((Vec::new(), control));
        }
        'halve: while suspects.len() > 1 {
            let (first, second) = suspects.split_at(suspects.len() / 2);
            for half in [first.to_vec(), second.to_vec()] {
                let tried = self.build(&half.iter().copied().collect())?;
                if Self::digests(&tried) != Self::digests(plain) {
                    (suspects, build) = (half, tried);
                    continue 'halve;
                }
            }
            break;
        }
        Ok((suspects, build))
    }

    /// Creates the report of a comparison, without explanations of the differences.
    fn report(&mut self, build: &Rebuild, reference: Reference<'_>) -> ReproduceReport {
        let (found, wanted) = (Self::found(build, reference), Self::wanted(build, reference));
        let paths: BTreeSet<&String> = found.keys().chain(wanted.keys()).collect();
        let compared = |path: &&String| Compared {
            path: path.as_str().into(),
            found: found.get(*path).copied(),
            wanted: wanted.get(*path).copied(),
        };
        let files: Vec<Compared> = paths.iter().map(compared).collect();
        let manifest = &build.manifest;
        let (manifest_same, (causes, causes_total), against, signer) = match reference {
            Reference::Rebuild(_) => (None, (Vec::new(), 0), None, None),
            Reference::Published(published) => (
                Some(manifest == published.manifest()),
                cause::causes(manifest, published.manifest()),
                Some(published.name.clone()),
                // Of a manifest alone, nobody has seen a signature.
                published.signer().map(|it| printable(&it.signer).to_string()),
            ),
        };
        let verdict = if files.iter().all(Compared::same) {
            ReproduceVerdict::Same
        } else if causes.iter().any(Cause::is_other_toolchain) {
            ReproduceVerdict::ToolchainDiffers
        } else {
            ReproduceVerdict::BytesDiffer
        };
        ReproduceReport {
            verdict,
            against,
            signer,
            builds: std::mem::take(&mut self.builds),
            files,
            manifest_same,
            culprits: Vec::new(),
            besides: Vec::new(),
            unsteady: false,
            causes,
            causes_total,
            differences: Vec::new(),
            manifest: build.manifest.clone(),
        }
    }

    /// Creates the report of a comparison with differences, including all available explanations.
    fn explain(
        &mut self,
        build: &Rebuild,
        reference: Reference<'_>,
        culprits: &[Variation],
        evidence: &Utf8Path,
    ) -> Result<ReproduceReport, Error> {
        let mut report = self.report(build, reference);
        report.culprits = culprits.iter().map(ToString::to_string).collect();
        report.unsteady = culprits.is_empty() && matches!(reference, Reference::Rebuild(_));
        let planned: HashMap<&Utf8Path, &PlannedRebuild> =
            self.planned.iter().map(|planned| (planned.path.as_path(), planned)).collect();
        let different = report.files.iter().filter(|compared| !compared.same());
        for planned in different.filter_map(|it| planned.get(it.path.as_path())).take(MAX_EXPLAINED) {
            report.differences.push(self.difference(planned, build, reference, evidence)?);
        }
        Ok(report)
    }

    fn difference(
        &self,
        planned: &PlannedRebuild,
        build: &Rebuild,
        reference: Reference<'_>,
        evidence: &Utf8Path,
    ) -> Result<LoaderDifference, Error> {
        let path = &planned.path;
        let mut difference = LoaderDifference {
            path: path.clone(),
            bytes: None,
            linked: None,
            unread: None,
            objects: None,
            files: None,
        };
        let failed = |error| Error::Build { variations: Vec::new(), error: Box::new(error) };
        let names = self.names(build);
        let theirs = match reference {
            Reference::Rebuild(plain) => Some(self.context.loader(plain, planned).map_err(failed)?),
            Reference::Published(published) => {
                published.file(path).and_then(|file| fs::read(&file).ok()).map(without_signatures)
            }
        };
        if let Some(there) = theirs {
            let here = self.context.loader(build, planned).map_err(failed)?;
            let map = build.link_map(planned);
            let (copies, names) = (paths::both_versions(evidence, path), names.clone());
            difference.files = Some(copies.clone());
            let compared = self.detached_on_cancel(move || -> Result<_, fs::Error> {
                fs::write_atomic(&copies.0, &here)?;
                fs::write_atomic(&copies.1, &there)?;
                Ok(bytes::compare(&here, &there, &LinkMap::new(&map), &names))
            })?;
            difference.bytes = Some(compared?);
        }
        let theirs = match reference {
            Reference::Rebuild(plain) => Some(Ok(LinkedObjects::parse(plain.linked(&planned.key)))),
            Reference::Published(published) => match Self::list_of(planned, published) {
                Some(list) => Some(self.detached_on_cancel(move || LinkedObjects::read(&list))?),
                None => None,
            },
        };
        match theirs {
            Some(Ok(theirs)) => {
                let ours = LinkedObjects::parse(build.linked(&planned.key));
                difference.linked = Some(LinkedDrift::of(&ours.since(&theirs)));
            }
            Some(Err(error)) => difference.unread = Some(error.reason()),
            None => {}
        }
        if let Reference::Rebuild(plain) = reference {
            let folder = |build: &Rebuild| build.objects(planned);
            difference.objects = objects::compare(&folder(build), &folder(plain), &names)?;
        }
        Ok(difference)
    }

    /// Wraps [`parallel::detached_on_cancel`] to return [`Error`].
    fn detached_on_cancel<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        let cancelled = || Error::Build { variations: Vec::new(), error: Box::new(rebuild::Error::Cancelled) };
        parallel::detached_on_cancel(self.context.build.progress, work).ok_or_else(cancelled)
    }

    /// Returns the path of the published list of objects linked into a loader, in the configuration that it has there.
    fn list_of(planned: &PlannedRebuild, published: &PublishedTree) -> Option<Utf8PathBuf> {
        let manifest = published.manifest();
        let ipxe = manifest.files.iter().find(|file| file.path == planned.path)?.ipxe.as_ref()?;
        let mut configurations = manifest.configurations.iter();
        let configuration = configurations.find(|configuration| configuration.sha256 == ipxe.configuration)?;
        let list = ipxe.linked_list(&configuration.name)?;
        manifest.files.iter().any(|file| file.path == list).then(|| published.file(&list)).flatten()
    }

    /// Returns names of this host and of the variations that must not appear in a loader.
    fn names(&self, build: &Rebuild) -> Vec<String> {
        let mut names = vec![self.context.scratch.to_string()];
        if build.variations.contains(&Variation::Hostname) {
            names.push(HOSTNAME.to_owned());
        }
        if build.variations.contains(&Variation::User) {
            names.push(HOME.to_owned());
        }
        names
    }
}

/// Returns the bytes of a loader without signatures. A file that is no application stays as it is, and differs.
fn without_signatures(mut bytes: Vec<u8>) -> Vec<u8> {
    let _ = signature::remove_signatures(&mut bytes);
    bytes
}

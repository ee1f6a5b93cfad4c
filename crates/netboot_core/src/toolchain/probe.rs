//! Tests for needed programs and files, by running or compiling them.

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

use super::cross::prefix;
use super::need::{Need, Probe};
use super::tool::{Error, Fingerprint, Tool};
use crate::base::fs;
use crate::base::paths::Cache;
use crate::base::process::{Command, find_program};
use crate::base::progress::Progress;
use crate::printable::printable;

/// The result of a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeStatus {
    /// It is present and suitable.
    Found(Box<Tool>),
    /// It is missing.
    Missing,
    /// It is present, but unsuitable.
    Unfit {
        /// The version or program found.
        found: String,
        /// The expected version or program.
        wanted: String,
    },
}

impl ProbeStatus {
    /// Describes the problem; `None` if there is none.
    #[must_use]
    pub fn complaint(&self) -> Option<String> {
        match self {
            Self::Found(_) => None,
            Self::Missing => Some("not found".into()),
            Self::Unfit { found, wanted } => Some(format!("found {found}, wanted {wanted}")),
        }
    }
}

fn unfit(found: impl Into<String>, wanted: impl Into<String>) -> ProbeStatus {
    ProbeStatus::Unfit { found: found.into(), wanted: wanted.into() }
}

impl Need {
    /// Tests for it with the programs in `path`.
    ///
    /// # Errors
    ///
    /// [`Error`] if `cache`, where small programs are compiled, is unusable for that; [`Error::Cancelled`] if the user
    /// asked to stop, because the output of interrupted programs is meaningless.
    pub fn probe(&self, path: &str, cache: &Cache, progress: &dyn Progress) -> Result<ProbeStatus, Error> {
        let prober = Prober { need: self, path, progress };
        let status = match self.test {
            Probe::Gcc { oldest, machine, prefixes } => prober.gcc(oldest, machine, prefixes),
            Probe::Program(name, args, wanted) => prober.program(name, args, wanted),
            Probe::Programs { prefixes, names } => prober.programs(prefixes, names),
            Probe::Linked { names, libraries } => prober.linked(names, libraries),
            Probe::Compiles { code, libraries, header } => prober.compiles(cache, code, libraries, header)?,
            Probe::File(candidates) => prober.file(candidates),
            Probe::Static(names) => prober.without_libraries(names),
            Probe::Kernel(folders, name) => prober.kernel(folders, name),
        };
        if progress.cancelled() { Err(Error::Cancelled) } else { Ok(status) }
    }
}

struct Prober<'a> {
    need: &'a Need,
    path: &'a str,
    progress: &'a dyn Progress,
}

/// Time that a program has to say its version.
const PATIENCE: Duration = Duration::from_secs(20);

impl Prober<'_> {
    fn command(&self, program: &Utf8Path) -> Command {
        let mut command = Command::new(format!("examine {}", self.need.name), program.as_str());
        command.deadline = PATIENCE;
        command.env("PATH", self.path).env("LC_ALL", "C")
    }

    fn output(&self, program: &Utf8Path, args: &[&str]) -> Option<Vec<String>> {
        let lines = self.command(program).args(args.iter().copied()).output(self.progress).ok()?;
        // Some programs print the path that they were called by, which is not part of their identity.
        let name = program.file_name().unwrap_or_default();
        Some(lines.into_iter().map(|line| line.replace(program.as_str(), name)).collect())
    }

    /// Returns the tool as found; `decisive` is the file that determines its behaviour.
    fn found(&self, version: String, decisive: &Utf8Path, others: &[Utf8PathBuf]) -> ProbeStatus {
        let files = std::iter::once(decisive).chain(others.iter().map(Utf8PathBuf::as_path));
        let tool = files.map(|file| Fingerprint::of(file, self.path)).collect::<Option<Vec<_>>>().and_then(|files| {
            let (sha256, _) = fs::sha256(decisive).ok()?;
            Some(Box::new(Tool { name: self.need.name.into(), version, sha256, package: None, files }))
        });
        tool.map_or(ProbeStatus::Missing, ProbeStatus::Found)
    }

    fn gcc(&self, oldest: u32, machine: &str, prefixes: &'static [&'static str]) -> ProbeStatus {
        let find = |prefix| find_program(&format!("{prefix}gcc"), self.path);
        let Some(program) = prefix(prefixes, "gcc", self.path).and_then(find) else { return ProbeStatus::Missing };
        let wanted = format!("GCC {oldest} or later for {machine}");
        let lines = self.output(&program, &["--version"]).unwrap_or_default();
        let Some(version) =
            lines.first().filter(|_| lines.iter().any(|line| line.contains("Free Software Foundation")))
        else {
            let no_answer = format!("`{}`, which does not run", printable(&program));
            return unfit(lines.first().cloned().unwrap_or(no_answer), wanted);
        };
        let answer =
            |args: &[&str]| self.output(&program, args).and_then(|lines| lines.into_iter().next()).unwrap_or_default();
        let major = answer(&["-dumpversion"]).split('.').next().and_then(|major| major.parse::<u32>().ok());
        if major.is_none_or(|major| major < oldest) {
            return unfit(version, wanted);
        }
        let target = answer(&["-dumpmachine"]);
        if !target.starts_with(machine) {
            return unfit(format!("GCC for {target}"), wanted);
        }
        let compiler = Utf8PathBuf::from(answer(&["-print-prog-name=cc1"]));
        if !compiler.is_absolute() {
            return unfit("gcc without a C compiler", wanted);
        }
        self.found(version.clone(), &compiler, &[program])
    }

    fn program(&self, name: &str, args: &[&str], wanted: &str) -> ProbeStatus {
        let Some(program) = find_program(name, self.path) else { return ProbeStatus::Missing };
        match self.output(&program, args) {
            Some(lines) if lines.first().map_or("", String::as_str).contains(wanted) => {
                let answer = lines.into_iter().next().unwrap_or_default();
                // A program that does not print its version is identified by its file name.
                let name = program.canonicalize_utf8().ok().and_then(|path| path.file_name().map(str::to_owned));
                let version = if answer == wanted { name.unwrap_or(answer) } else { answer };
                self.found(version, &program, &[])
            }
            Some(lines) => unfit(lines.first().map_or("no answer", String::as_str), wanted),
            None => unfit(format!("`{}`, which fails", printable(&program)), wanted),
        }
    }

    fn programs(&self, prefixes: &'static [&'static str], names: &[&str]) -> ProbeStatus {
        let usual = prefixes.first().copied().unwrap_or_default();
        let prefix = names.iter().find_map(|name| prefix(prefixes, name, self.path)).unwrap_or(usual);
        let find = |name: &&str| {
            let name = format!("{prefix}{name}");
            (find_program(&name, self.path), name)
        };
        let found: Vec<_> = names.iter().map(find).collect();
        if let Some((_, name)) = found.iter().find(|(program, _)| program.is_none()) {
            return if found.iter().all(|(program, _)| program.is_none()) {
                ProbeStatus::Missing
            } else {
                unfit(format!("no `{name}`"), "all of it")
            };
        }
        let programs: Vec<Utf8PathBuf> = found.into_iter().filter_map(|(program, _)| program).collect();
        let version = self.output(&programs[0], &["--version"]).and_then(|lines| lines.into_iter().next());
        self.found(version.unwrap_or_default(), &programs[0], &programs[1..])
    }

    fn linked(&self, names: &[&str], libraries: &[&str]) -> ProbeStatus {
        let programs = names.iter().map(|name| find_program(name, self.path));
        let Some(mut files) = programs.collect::<Option<Vec<_>>>() else { return ProbeStatus::Missing };
        let ldd = find_program("ldd", self.path).and_then(|ldd| self.output(&ldd, &[files[0].as_str()]));
        // `libisofs.so.6 => /lib/x86_64-linux-gnu/libisofs.so.6 (0x00007f5f4e4a8000)`
        let loaded = ldd.iter().flatten().filter_map(|line| {
            let (name, path) = line.trim().split_once(" => ")?;
            libraries.iter().any(|library| name.starts_with(library)).then(|| path.split(" (").next())?
        });
        files.extend(loaded.filter_map(|path| Utf8Path::new(path).canonicalize_utf8().ok()));
        let version = self.output(&files[0], &["--version"]).and_then(|lines| lines.into_iter().next());
        self.found(version.unwrap_or_default(), &files[0], &files[1..])
    }

    fn compiles(&self, cache: &Cache, code: &str, libraries: &[&str], header: &str) -> Result<ProbeStatus, Error> {
        let Some(gcc) = find_program("gcc", self.path) else { return Ok(ProbeStatus::Missing) };
        let Some((lines, version)) = self.compile(&gcc, cache, code, libraries)? else {
            return Ok(ProbeStatus::Missing);
        };
        // gcc -H prints each header that it reads, ld --trace each file that it links.
        let canonical = |path: &str| Utf8Path::new(path).canonicalize_utf8().ok();
        let headers = lines.iter().filter_map(|line| line.trim_start_matches('.').strip_prefix(' '));
        let Some(header) = headers.filter(|path| path.ends_with(header)).find_map(canonical) else {
            return Ok(ProbeStatus::Missing);
        };
        let library = libraries.first().and_then(|name| {
            let stem = format!("lib{}.", name.trim_start_matches("-l"));
            let mut linked =
                lines.iter().map(String::as_str).filter(|line| line.starts_with('/') && line.contains(&stem));
            linked.find_map(canonical)
        });
        Ok(match library {
            Some(library) => self.found(version, &library, &[header]),
            None => self.found(version, &header, &[]),
        })
    }

    /// Compiles and runs a program in the cache. Returns the compiler's output and the program's first line; `None` if
    /// either fails for a reason unrelated to the cache.
    fn compile(
        &self,
        gcc: &Utf8Path,
        cache: &Cache,
        code: &str,
        libraries: &[&str],
    ) -> Result<Option<(Vec<String>, String)>, Error> {
        let root = cache.root();
        let folder = fs::Temporary::create(root, Cache::PROBE)?;
        let folder = folder.path();
        let (source, program) = (folder.join("probe.c"), folder.join("probe"));
        fs::write_new(&source, code.as_bytes(), 0o644)?;
        let args = ["-H", "-Wl,--trace", source.as_str(), "-o", program.as_str()];
        let compile = self.command(gcc).args(args).args(libraries.iter().copied()).env("TMPDIR", folder.as_str());
        let Ok(lines) = compile.output(self.progress) else {
            // The compiler's message for a full file system is not reliable, so check whether the space is available.
            fs::check_room(folder, 0)?;
            return Ok(None);
        };
        match self.command(&program).output(self.progress) {
            Ok(told) => Ok(told.into_iter().next().map(|version| (lines, version))),
            Err(error) if error.is_permission_denied() => Err(Error::NotExecutable(root.to_owned())),
            Err(_) => Ok(None),
        }
    }

    fn file(&self, candidates: &[&str]) -> ProbeStatus {
        let found = candidates.iter().map(Utf8Path::new).find(|path| path.is_file());
        found.map_or(ProbeStatus::Missing, |path| self.found(path.to_string(), path, &[]))
    }

    fn without_libraries(&self, names: &[&str]) -> ProbeStatus {
        let found: Vec<Utf8PathBuf> = names.iter().filter_map(|name| find_program(name, self.path)).collect();
        let Some(first) = found.first() else { return ProbeStatus::Missing };
        match found.iter().find(|file| fs::read(file).is_ok_and(|content| is_static(&content))) {
            Some(file) => self.found(format!("{}, static", file.file_name().unwrap_or_default()), file, &[]),
            None => unfit(format!("`{first}`, which needs shared libraries"), "a static one"),
        }
    }

    fn kernel(&self, folders: &[&str], name: &str) -> ProbeStatus {
        let mut found: Vec<Utf8PathBuf> =
            folders.iter().flat_map(|folder| files_named(Utf8Path::new(folder), name)).collect();
        found.sort_by_key(|file| version(file.as_str()));
        let readable = found.iter().rev().find(|file| is_kernel(file));
        let locked = found.iter().rev().find(|file| std::fs::File::open(file).is_err());
        match (readable, locked) {
            (Some(file), _) => {
                let version = file.as_str().trim_start_matches("/boot/").trim_start_matches("/usr/lib/modules/");
                self.found(version.to_owned(), file, &[])
            }
            (None, Some(file)) => {
                unfit(format!("`{file}`, which only root may read"), format!("one to read: `sudo chmod +r {file}`"))
            }
            (None, None) => ProbeStatus::Missing,
        }
    }
}

/// Lists files in `folder`, and in folders directly below, whose names begin with `name`.
fn files_named(folder: &Utf8Path, name: &str) -> Vec<Utf8PathBuf> {
    let list = |folder: &Utf8Path| -> Vec<Utf8PathBuf> {
        let entries = folder.read_dir_utf8().into_iter().flatten().filter_map(Result::ok);
        entries.map(camino::Utf8DirEntry::into_path).collect()
    };
    let below: Vec<Utf8PathBuf> =
        list(folder).into_iter().flat_map(|path| if path.is_dir() { list(&path) } else { vec![path] }).collect();
    below.into_iter().filter(|path| path.file_name().is_some_and(|file| file.starts_with(name))).collect()
}

/// Returns the numbers in a name, for sorting by version.
fn version(name: &str) -> Vec<u64> {
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
}

/// Checks whether a file is readable and has the signature of a Linux kernel for x86.
fn is_kernel(file: &Utf8Path) -> bool {
    let mut head = [0; 0x206];
    let read = std::fs::File::open(file).and_then(|mut file| std::io::Read::read_exact(&mut file, &mut head));
    read.is_ok() && head.ends_with(b"HdrS")
}

/// The type of the program header that names an interpreter.
const INTERPRETER: usize = 3;

/// Checks whether a 64-bit ELF file has no interpreter, which would load shared libraries.
fn is_static(content: &[u8]) -> bool {
    let number = |offset: usize, size: usize| -> Option<usize> {
        let bytes = content.get(offset..offset + size)?;
        Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    };
    let headers = || {
        // The offset of the program headers, their size, and their number.
        let (start, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
        (0..count).map(|i| number(start + i * size, 4)).collect::<Option<Vec<_>>>()
    };
    content.starts_with(b"\x7fELF\x02") && headers().is_some_and(|kinds| !kinds.contains(&INTERPRETER))
}

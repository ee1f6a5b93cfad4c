//! `docs` renders a book with all its links, replaces nothing but a book, and writes man pages.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::{Command, Stdio};

use netboot_fixtures::book::{blocks, missing};
use netboot_fixtures::project::{CliOutput, Project};
use netboot_fixtures::{limits, says, shows, skip};

netboot_fixtures::tests! {
    a_book_is_rendered_and_a_link_that_leads_nowhere_is_named,
    a_folder_that_is_no_book_is_left_alone,
    only_mdbook_s_own_pages_make_a_folder_a_book,
    a_book_with_a_broken_link_replaces_nothing,
    nothing_but_pages_and_pictures_gets_into_a_book,
    an_interrupted_run_leaves_the_old_book_and_nothing_else,
    what_a_killed_run_left_is_removed,
    two_runs_at_once_take_turns,
    a_full_disk_is_named,
    a_mount_point_is_refused,
    every_server_may_read_the_book_whatever_the_umask,
    a_served_book_is_not_the_published_one,
    without_mdbook_there_is_no_book,
    man_pages_replace_links_and_pipes,
    a_folder_in_the_place_of_a_man_page_is_named,
    each_command_gets_a_man_page,
    blocks_have_marks_and_lose_their_indentation,
    shown_output_is_the_real_one_except_for_its_values,
}

/// Returns a project with a book, whose only page has `link`.
fn with_book(link: &str) -> Project {
    let project = Project::cold();
    project.add_book(link);
    project
}

fn docs(project: &Project, args: &[&str]) -> CliOutput {
    let mut command = project.command(["docs"]);
    CliOutput::from(command.args(args).env("PATH", project.path_with_tools()).output().unwrap())
}

fn a_book_is_rendered_and_a_link_that_leads_nowhere_is_named() {
    let project = with_book("index.html#top");
    let ran = docs(&project, &[]).success();
    assert_eq!(ran.stdout, format!("1 page in {}\n", project.path("dist/book")));
    assert!(project.read("docs/src/reference/commands.md").starts_with(b"# Commands\n"));
    // Again, over the book that is there.
    let ran = docs(&project, &["--message-format", "json"]).success();
    assert!(ran.stdout.contains("\"pages\":1"), "{}", ran.stdout);
    let project = with_book("index.html#gone");
    let error = docs(&project, &[]).error(9);
    assert!(
        error.starts_with("the book has 1 link to missing pages or headings:\n  index.html: index.html#gone\n"),
        "{error}"
    );
}

fn a_folder_that_is_no_book_is_left_alone() {
    let project = with_book("index.html");
    project.write("mine/keep", "mine");
    let mine = project.path("mine");
    let error = docs(&project, &["--out", mine.as_str()]).error(1);
    assert_eq!(
        error,
        format!(
            "`{mine}` is not empty, and no book\nhint: move that away\nhint: or choose another folder with `--out`\n"
        )
    );
    assert_eq!(project.read("mine/keep"), b"mine");
    assert!(!project.path("mine/toc.html").exists());
}

fn only_mdbook_s_own_pages_make_a_folder_a_book() {
    let project = with_book("index.html");
    let book = project.path("dist/book");
    docs(&project, &[]).success();
    project.write("mine/toc.html", "my own").write("half/toc.html", "my own");
    std::fs::copy(book.join("index.html"), project.path("half/index.html")).unwrap();
    std::fs::create_dir(project.path("linked")).unwrap();
    for page in ["index.html", "toc.html"] {
        symlink(book.join(page), project.path("linked").join(page)).unwrap();
    }
    for name in ["mine", "half", "linked"] {
        project.write(&format!("{name}/thesis.txt"), "mine");
        let folder = project.path(name);
        let error = docs(&project, &["--out", folder.as_str()]).error(1);
        assert!(error.starts_with(&format!("`{folder}` is not empty, and no book\nhint: ")), "{error}");
        assert_eq!(project.read(&format!("{name}/thesis.txt")), b"mine");
    }
    // What somebody put into a book is not thrown away with it.
    for name in ["notes.txt", ".git/HEAD", "CNAME", "sub/.env"] {
        project.write(&format!("dist/book/{name}"), "mine");
        let error = docs(&project, &[]).error(1);
        let begin =
            format!("`{book}/{name}` is not of the book, which would replace all that is in that folder\nhint: ");
        assert!(error.starts_with(&begin), "{error}");
        assert_eq!(project.read(&format!("dist/book/{name}")), b"mine");
        std::fs::remove_file(book.join(name)).unwrap();
    }
    // A link to a book leads to what is replaced, and stays.
    symlink(&book, project.path("link")).unwrap();
    project.write("dist/book/old.html", "");
    docs(&project, &["--out", project.path("link").as_str()]).success();
    assert!(project.path("link").is_symlink() && !book.join("old.html").exists());
}

fn nothing_but_pages_and_pictures_gets_into_a_book() {
    let project = with_book("index.html");
    for name in [".env", "key.pem", "images/a.jpg"] {
        project.write(&format!("docs/src/{name}"), "secret");
        let error = docs(&project, &[]).error(3);
        let file = project.path(&format!("docs/src/{name}"));
        let wanted =
            format!("`{file}` is no page (.md) and no picture (.svg), and would be in the book\nhint: move it away\n");
        assert_eq!(error, wanted);
        std::fs::remove_file(file).unwrap();
    }
    symlink("/etc/passwd", project.path("docs/src/page.md")).unwrap();
    assert!(docs(&project, &[]).error(3).contains("/page.md` is no page"));
    assert!(!project.path("dist/book").exists());
}

fn a_book_with_a_broken_link_replaces_nothing() {
    let project = with_book("index.html");
    docs(&project, &[]).success();
    let before = Project::files_of(&project.path("dist/book"));
    project.add_book("index.html#gone");
    docs(&project, &[]).error(9);
    assert_eq!(Project::files_of(&project.path("dist/book")), before);
    assert_eq!(names(&project, "dist"), [".book.lock", "book"]);
}

/// Returns the names of the entries of a folder, sorted.
fn names(project: &Project, folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(project.path(folder)).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Commands for the stand-in of mdBook: waits to be interrupted, and says so with the file `begun`.
const WAIT: &str = "touch ../begun; sleep 60";

/// Interrupts `docs` while it waits, and returns what it printed to standard error.
fn interrupt(project: &Project, args: &[&str]) -> String {
    let begun = project.path("begun");
    let _ = std::fs::remove_file(&begun);
    let mut command = project.command(["docs"]);
    command.args(args).env("PATH", project.path_with_tools());
    limits::interrupt(&mut command, |_| begun.exists()).stderr
}

fn an_interrupted_run_leaves_the_old_book_and_nothing_else() {
    let project = Project::cold();
    project.add_slow_book("index.html", WAIT);
    assert_eq!(interrupt(&project, &[]), "error: interrupted\n");
    assert_eq!(names(&project, "dist"), [".book.lock"]);
    project.add_book("index.html");
    docs(&project, &[]).success();
    let before = Project::files_of(&project.path("dist/book"));
    project.add_slow_book("index.html", WAIT);
    interrupt(&project, &[]);
    assert_eq!(Project::files_of(&project.path("dist/book")), before);
    assert_eq!(names(&project, "dist"), [".book.lock", "book"]);
}

fn what_a_killed_run_left_is_removed() {
    let project = with_book("index.html");
    project.write("dist/.book.partial/half.html", "");
    docs(&project, &[]).success();
    assert_eq!(names(&project, "dist/book"), ["images", "index.html", "toc.html"]);
    // On a file system that cannot exchange folders, a kill at the worst moment leaves this.
    std::fs::rename(project.path("dist/book"), project.path("dist/.book.previous")).unwrap();
    project.add_book("index.html#gone");
    docs(&project, &[]).error(9);
    assert_eq!(names(&project, "dist"), [".book.lock", "book"]);
}

fn two_runs_at_once_take_turns() {
    let project = Project::cold();
    // Fails if another run empties the folder meanwhile.
    project.add_slow_book("index.html", ": > \"$2/$$\"; sleep 0.5; rm \"$2/$$\" || exit 1");
    let mut other =
        project.command(["docs"]).env("PATH", project.path_with_tools()).stdout(Stdio::null()).spawn().unwrap();
    docs(&project, &[]).success();
    assert!(other.wait().unwrap().success());
    assert_eq!(names(&project, "dist/book"), ["images", "index.html", "toc.html"]);
}

/// Runs `docs` after `prepare`, a shell script with its own mount namespace, has changed the file systems.
fn in_namespace(project: &Project, prepare: &str, args: &[&str]) -> CliOutput {
    let command = project.command(["docs"]);
    let mut unshare = Command::new("unshare");
    unshare.args(["-rm", "sh", "-ec", &format!("{prepare}; exec \"$@\""), "sh"]).arg(command.get_program());
    unshare.args(command.get_args()).args(args).env("PATH", project.path_with_tools());
    CliOutput::from(unshare.output().unwrap())
}

fn a_full_disk_is_named() -> Result<(), String> {
    skip::mount_namespaces()?;
    let project = Project::cold();
    project.add_slow_book("index.html", "head -c 1000000 /dev/zero > \"$2/a\" 2>/dev/null || exit 1");
    let dist = project.path("dist");
    std::fs::create_dir(&dist).unwrap();
    says!(project, in_namespace(&project, &format!("mount -t tmpfs -o size=64k none {dist}"), &[]), @"
    exit code 1, stderr:
    error: cannot write `PROJECT/dist/.book.partial/room`
      caused by: No space left on device (os error 28)
    hint: free space on the file system of `PROJECT/dist`
    hint: or choose another folder with `--out`
    ");
    Ok(())
}

fn a_mount_point_is_refused() -> Result<(), String> {
    skip::mount_namespaces()?;
    let project = with_book("index.html");
    let book = project.path("srv");
    std::fs::create_dir(&book).unwrap();
    let prepare = format!("mount -t tmpfs none {book}");
    says!(project, in_namespace(&project, &prepare, &["--out", book.as_str()]), @"
    exit code 1, stderr:
    error: `PROJECT/srv` is a mount point, and a book is published by exchanging folders
    hint: name a folder in it
    hint: or choose another folder with `--out`
    ");
    Ok(())
}

fn every_server_may_read_the_book_whatever_the_umask() {
    for umask in ["0", "077"] {
        let project = with_book("index.html");
        let (command, book) = (project.command(["docs"]), project.path("srv/www/book"));
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("umask {umask}; exec \"$@\""), "sh"]).arg(command.get_program());
        shell.args(command.get_args()).args(["--out", book.as_str()]).env("PATH", project.path_with_tools());
        CliOutput::from(shell.output().unwrap()).success();
        for (path, wanted) in
            [("..", 0o755), ("", 0o755), ("images", 0o755), ("index.html", 0o644), ("images/a.svg", 0o644)]
        {
            let found = book.join(path).metadata().unwrap().permissions().mode() & 0o757;
            assert_eq!(found, wanted, "`{path}` has {found:o} with umask {umask}");
        }
    }
}

fn a_served_book_is_not_the_published_one() {
    let project = with_book("index.html");
    docs(&project, &[]).success();
    let before = Project::files_of(&project.path("dist/book"));
    project.add_slow_book(
        "index.html",
        "case \"$2\" in *.partial) ;; *) echo \"$2\" > ../served; touch ../begun; sleep 60 ;; esac",
    );
    assert_eq!(interrupt(&project, &["--serve"]), "error: interrupted\n");
    assert_eq!(Project::files_of(&project.path("dist/book")), before);
    let served = String::from_utf8(project.read("served")).unwrap();
    assert!(!std::path::Path::new(served.trim()).exists(), "{served}");
    // mdBook cannot listen, for instance.
    project.add_slow_book("index.html", "case \"$2\" in *.partial) ;; *) exit 1 ;; esac");
    says!(project, docs(&project, &["--serve", "--quiet"]), @"
    exit code 1, stderr:
    error: the book cannot be served
    hint: see what mdbook says above
    ");
}

fn man_pages_replace_links_and_pipes() {
    let project = Project::cold();
    let folder = project.path("man");
    project.write("victim", "precious").write("man/foreign.1", "foreign");
    symlink(project.path("victim"), folder.join("cargo-xtask-verify.1")).unwrap();
    limits::pipe(&folder.join("cargo-xtask.1"));
    let ran = limits::measure(&mut project.command(["docs", "--man", folder.as_str()]));
    assert!(ran.status.success(), "{}", ran.stderr);
    assert_eq!((project.read("victim"), project.read("man/foreign.1")), (b"precious".to_vec(), b"foreign".to_vec()));
    for page in ["cargo-xtask.1", "cargo-xtask-verify.1"] {
        assert!(folder.join(page).symlink_metadata().unwrap().is_file(), "{page}");
    }
}

fn a_folder_in_the_place_of_a_man_page_is_named() {
    let project = Project::cold();
    std::fs::create_dir_all(project.path("man/cargo-xtask.1")).unwrap();
    shows!(project, ["docs", "--man", project.path("man").as_str()], @"
    exit code 1, stderr:
    error: cannot write `PROJECT/man/cargo-xtask.1`
      caused by: Is a directory (os error 21)
    hint: move that folder away
    ");
    std::fs::remove_dir_all(project.path("man")).unwrap();
    project.write("man", "");
    shows!(project, ["docs", "--man", project.path("man").as_str()], @"
    exit code 1, stderr:
    error: cannot create the folder `PROJECT/man`
      caused by: File exists (os error 17)
    hint: move away the file that stands where a folder is wanted, or choose another folder
    ");
}

fn without_mdbook_there_is_no_book() {
    let project = with_book("index.html");
    std::fs::remove_file(project.path("tools/mdbook")).unwrap();
    let error =
        CliOutput::from(project.command(["docs"]).env("PATH", project.path("tools")).output().unwrap()).error(4);
    assert!(error.starts_with("found no `mdbook`, which renders the book\nhint: "), "{error}");
}

fn each_command_gets_a_man_page() {
    let project = Project::cold();
    let folder = project.path("man");
    let ran = docs(&project, &["--man", folder.as_str()]).success();
    let pages = std::fs::read_dir(&folder).unwrap().count();
    // Pages of other programs are not counted.
    project.write("man/other.1", "");
    assert_eq!(ran.stdout, format!("{pages} man pages in {folder}\n"));
    let json = docs(&project, &["--message-format", "json", "--man", folder.as_str()]).success();
    assert!(json.stdout.contains(&format!("\"pages\":{pages}")), "{}", json.stdout);
    for (page, option) in [("cargo-xtask.1", "cache\\-dir"), ("cargo-xtask-deploy.1", "prune")] {
        let text = String::from_utf8(project.read(&format!("man/{page}"))).unwrap();
        assert!(text.contains(&format!("\\-\\-{option}")), "{page} does not name --{option}");
    }
}

fn blocks_have_marks_and_lose_their_indentation() {
    let page = "a\n\n```sh,needs=tree\nb\n  c\n```\n\n1. d\n\n   ```text,output\n   e\n\n   f\n   ```\n\
                <!-- run\ng\n-->\n";
    let blocks = blocks(page);
    assert_eq!(blocks.len(), 3);
    assert_eq!((blocks[0].line, &*blocks[0].text, blocks[0].mark("needs=")), (3, "b\n  c\n", Some("tree")));
    assert_eq!((blocks[1].line, &*blocks[1].text), (10, "e\n\nf\n"));
    assert_eq!(blocks[1].marks, ["text", "output"]);
    assert_eq!((&*blocks[2].text, &blocks[2].marks[..]), ("g\n", &["sh".to_owned()][..]));
}

fn shown_output_is_the_real_one_except_for_its_values() {
    let actual = "ok   ipxe.efi   14.9\n/srv/tftp has all 7 files\n1.50 MiB sent\nend\n";
    assert_eq!(missing("/srv/tftp has all 5 files\n1 MiB sent\n", actual), None);
    assert_eq!(missing("ok ipxe.efi 3.1\n…\nend\n", actual), None);
    assert_eq!(missing("… has all 5 files\n", actual), None);
    assert_eq!(missing("ok ipxe.efi 3.1\nend\n", actual), Some("end"));
    assert_eq!(missing("ok ipxe.pxe 14.9\n", actual), Some("ok ipxe.pxe 14.9"));
    assert_eq!(missing("1 MiB sent\n/srv/tftp has all 7 files\n", actual), Some("/srv/tftp has all 7 files"));
    assert_eq!(missing("of 08dd07a380b2e377\n", "of a0724b49d2a66aeb\n"), None);
    assert_eq!(missing("anything\n", ""), Some("anything"));
}

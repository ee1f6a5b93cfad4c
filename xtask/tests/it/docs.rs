//! `docs` renders a book with all its links, overwrites nothing but a book, and writes man pages.

use std::os::unix::fs::symlink;

use netboot_fixtures::book::{blocks, missing};
use netboot_fixtures::project::{CliOutput, Project};
use netboot_fixtures::{limits, shows};

netboot_fixtures::tests! {
    a_book_is_rendered_and_a_link_that_leads_nowhere_is_named,
    a_folder_that_is_no_book_is_left_alone,
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

//! Output of programs, which foreign input can determine.

use std::process::Command;

use netboot_fixtures::limits;
use netboot_fixtures::project::{CliOutput, Project};

netboot_fixtures::tests! {
    ; slow:
    what_programs_print_takes_no_memory,
}

/// Output without line breaks that is not UTF-8 gets three times as long as text. A server can make ssh print anything.
fn what_programs_print_takes_no_memory() {
    let project = Project::new();
    project.build(&[]).success();
    let invalid = |bytes: &str| format!("head -c {bytes} /dev/zero | tr '\\0' '\\377'");
    let tool = |name: &str, script: &str| {
        project.add_tool(name, script);
        project.path(&format!("tools/{name}")).into_string()
    };
    let ssh = tool("ssh", &format!("{} >&2\nexit 255\n", invalid("300000000")));
    let deploy = ["deploy", "sftp://u@h/x", "--ssh", &ssh];
    let ran = project.run_within_limits(&deploy);
    let error = ran.error(5);
    assert!(error.starts_with("`ssh` does not connect with `h`\n  | \u{fffd}"), "{}", &error[..99]);
    assert!(error.len() < 70 << 10, "{} bytes", error.len());
    let begun = project.path("begun");
    tool("ssh", &format!("touch {begun}\n{} >&2\nexit 255\n", invalid("9999999999999")));
    limits::interrupt(&mut project.command(deploy), |_| begun.exists());
    tool("butane", &invalid("300000000"));
    project.write("a.bu", "");
    let with_tools = |mut command: Command| -> CliOutput {
        limits::measure(command.env("PATH", project.path_with_tools())).assert_memory_limit().into()
    };
    let error = with_tools(project.command(["ignition", "--butane", project.path("a.bu").as_str()])).error(1);
    assert!(error.contains("/butane` wrote more than 64 MiB and was ended\n"), "{}", &error[..99]);
    assert!(error.len() < 70 << 10, "{} bytes", error.len());
    // Just within the limit, so that the log is searched for known failures.
    let script =
        format!("case \"$*\" in *--version*) exec /usr/bin/make \"$@\";; esac\n{}\nexit 2\n", invalid("20500000"));
    tool("make", &script);
    std::fs::remove_dir_all(project.path("cache")).unwrap();
    let error = with_tools(project.command(project.build_arguments(&[]))).error(7);
    assert!(error.contains("`make` ended with exit code 2\n") && error.len() < 70 << 10, "{} bytes", error.len());
}

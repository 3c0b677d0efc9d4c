//! Windows: a value under the registry's Run key, which starts the proxy when the user logs in. NOT RUN by its authors, who had no
//! Windows at hand; the command line is tested everywhere.

use super::Job;
#[cfg(windows)]
use super::{Failure, required, say, system, texts};

#[cfg(windows)]
const KEY: &str = r"HKCU\Software\Microsoft\Windows\CurrentVersion\Run";
#[cfg(windows)]
const NAME: &str = "emailproxy";

/// The command line as programs take it apart again (CommandLineToArgvW).
fn command_line(job: &Job) -> String {
    let quoted = |argument: &String| {
        let mut text = String::from("\"");
        let mut backslashes = 0;
        for character in argument.chars() {
            match character {
                '\\' => backslashes += 1,
                '"' => {
                    text.push_str(&"\\".repeat(backslashes + 1));
                    backslashes = 0;
                }
                _ => backslashes = 0,
            }
            text.push(character);
        }
        text.push_str(&"\\".repeat(backslashes));
        text.push('"');
        text
    };
    job.command.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

#[cfg(windows)]
pub(super) fn install(job: &Job, of_machine: bool, dry_run: bool) -> Result<(), Failure> {
    of_user_only(of_machine)?;
    let line = command_line(job);
    if dry_run {
        say(&format!("reg add {KEY} /v {NAME} /t REG_SZ /d {line} /f"));
        return Ok(());
    }
    required(
        "reg",
        &["add", KEY, "/v", NAME, "/t", "REG_SZ", "/d", &line, "/f"],
    )?;
    say(texts::STARTS_AT_LOGIN);
    Ok(())
}

#[cfg(windows)]
pub(super) fn uninstall(of_machine: bool, dry_run: bool) -> Result<(), Failure> {
    of_user_only(of_machine)?;
    if dry_run {
        say(&format!("reg delete {KEY} /v {NAME} /f"));
        return Ok(());
    }
    required("reg", &["delete", KEY, "/v", NAME, "/f"])
}

#[cfg(windows)]
pub(super) fn status(of_machine: bool) -> Result<bool, Failure> {
    of_user_only(of_machine)?;
    system("reg", &["query", KEY, "/v", NAME])
}

#[cfg(windows)]
fn of_user_only(of_machine: bool) -> Result<(), Failure> {
    match of_machine {
        true => Err(Failure::Wrong(texts::ONLY_FOR_USERS.to_owned())),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_survive_the_command_line() {
        let job = Job {
            command: [
                r"C:\Program Files\e.exe",
                "--config-file",
                r#"C:\a\"#,
                r#"b\"c"#,
            ]
            .map(str::to_owned)
            .to_vec(),
            folder: "C:\\".into(),
            writes: Vec::new(),
            low_port: false,
            home: false,
            user: None,
        };
        assert_eq!(
            command_line(&job),
            r#""C:\Program Files\e.exe" "--config-file" "C:\a\\" "b\\\"c""#
        );
    }
}

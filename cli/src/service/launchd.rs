//! launchd: an agent of the user's or a daemon of the machine's. NOT RUN by its authors, who had no macOS at hand; the file's text
//! is tested everywhere.

use super::Job;
#[cfg(target_os = "macos")]
use super::{Failure, required, say, system, texts};
use std::fmt::Write as _;

const LABEL: &str = "emailproxy";

/// The property list (launchd.plist(5)).
fn text(job: &Job) -> String {
    let mut text = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n\
         <!-- Written by `emailproxy service install`. -->\n<plist version=\"1.0\">\n<dict>\n",
    );
    let _ = writeln!(text, "  <key>Label</key><string>{LABEL}</string>");
    text.push_str("  <key>ProgramArguments</key>\n  <array>\n");
    for argument in &job.command {
        let _ = writeln!(text, "    <string>{}</string>", escaped(argument));
    }
    text.push_str("  </array>\n");
    let folder = escaped(&job.folder.display().to_string());
    let _ = writeln!(
        text,
        "  <key>WorkingDirectory</key><string>{folder}</string>"
    );
    if let Some(user) = &job.user {
        let _ = writeln!(
            text,
            "  <key>UserName</key><string>{}</string>",
            escaped(user)
        );
    }
    // A start that fails because of the configuration would be repeated for ever: after a graceful end it stays down, else it is
    // started again, not more often than every ten seconds.
    text.push_str(
        "  <key>RunAtLoad</key><true/>\n  <key>KeepAlive</key>\n  <dict><key>SuccessfulExit</key><false/></dict>\n  \
         <key>Umask</key><integer>63</integer>\n</dict>\n</plist>\n",
    );
    text
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(target_os = "macos")]
fn path(of_machine: bool) -> Result<std::path::PathBuf, Failure> {
    let file = format!("{LABEL}.plist");
    if of_machine {
        return Ok(std::path::Path::new("/Library/LaunchDaemons").join(file));
    }
    let home = std::env::var_os("HOME").ok_or_else(|| Failure::Wrong(texts::NO_HOME.to_owned()))?;
    Ok(std::path::Path::new(&home)
        .join("Library/LaunchAgents")
        .join(file))
}

#[cfg(target_os = "macos")]
pub(super) fn install(job: &Job, of_machine: bool, dry_run: bool) -> Result<(), Failure> {
    let path = path(of_machine)?;
    let text = text(job);
    if dry_run {
        say(&format!(
            "{}:\n{text}\nlaunchctl load -w {}",
            path.display(),
            path.display()
        ));
        return Ok(());
    }
    let failed = |error: std::io::Error| Failure::Failed(format!("{}: {error}", path.display()));
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    if path.exists() {
        // It may not be loaded.
        let _ = system(
            "launchctl",
            &[std::ffi::OsStr::new("unload"), path.as_os_str()],
        );
    }
    std::fs::write(&path, text).map_err(failed)?;
    say(&texts::wrote(path.display()));
    required("launchctl", &["load", "-w", &super::utf8(&path)?])
}

#[cfg(target_os = "macos")]
pub(super) fn uninstall(of_machine: bool, dry_run: bool) -> Result<(), Failure> {
    let path = path(of_machine)?;
    if dry_run {
        say(&format!("launchctl unload -w {0}\nrm {0}", path.display()));
        return Ok(());
    }
    required("launchctl", &["unload", "-w", &super::utf8(&path)?])?;
    std::fs::remove_file(&path)
        .map_err(|error| Failure::Failed(format!("{}: {error}", path.display())))?;
    say(&texts::removed(path.display()));
    Ok(())
}

#[cfg(target_os = "macos")]
pub(super) fn status(_: bool) -> Result<bool, Failure> {
    system("launchctl", &["list", LABEL])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_property_list_is_well_formed() {
        let job = Job {
            command: ["/opt/emailproxy", "--config-file", "/a & b/<c>"]
                .map(str::to_owned)
                .to_vec(),
            folder: "/a & b".into(),
            writes: Vec::new(),
            low_port: false,
            home: false,
            user: Some("ada".to_owned()),
        };
        let text = text(&job);
        let options = roxmltree::ParsingOptions {
            allow_dtd: true,
            ..Default::default()
        };
        let document = roxmltree::Document::parse_with_options(&text, options).unwrap();
        let strings: Vec<_> = document
            .descendants()
            .filter(|node| node.has_tag_name("string"))
            .filter_map(|node| node.text())
            .collect();
        assert_eq!(
            strings,
            [
                "emailproxy",
                "/opt/emailproxy",
                "--config-file",
                "/a & b/<c>",
                "/a & b",
                "ada"
            ]
        );
    }
}

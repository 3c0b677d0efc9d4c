//! Stores on disk, and the saver's memory over them.

mod file;
mod killed;
mod processes;
mod refused;
mod saver;

use oauth::store::Change;

fn set(option: &'static str, value: impl Into<String>) -> Change {
    Change {
        option,
        value: Some(value.into()),
    }
}

/// A configuration as a person keeps it: 30 sections, comments, odd spacing, values of several lines.
fn commented_configuration() -> String {
    let mut text = "# my proxy; do not touch!\n[DEFAULT]\nlocal_address = 127.0.0.1\n\n".to_owned();
    for number in 0..30 {
        let heading = account(number);
        text += &format!(
            "; ---- account {number} ----\n[{heading}] \n  # the client that IT registered\n  Client_ID:  id-{number}\n\
             \x20 client_secret = {{\n      \"key\": \"a=b\",\n\n  # inside\n      \"n\": {number}\n    }}\n\
             \x20 token_url=https://p.example/%7E/{number}\n\n# trailing words about {number}\n\n"
        );
    }
    text
}

fn account(number: usize) -> String {
    format!("user{number}@example.com")
}

/// This test binary again, as another process that runs the one test named and finds `variable` set.
fn again(test: &str, variable: &str, value: &str) -> std::process::Command {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(variable, value);
    command
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null());
    command
}

//! One file, used by the Python tool and by us in turn (`token_format = fernet`).

use crate::world::{BY_CODE, USER, World, config};
use std::{fs, process::Command};

/// Opens the tokens as the Python tool does, prints them, and leaves others in their place.
const SCRIPT: &str = r#"
import base64, configparser, sys
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
path, account, password = sys.argv[1:]
parser = configparser.RawConfigParser()
parser.read(path)
section = parser[account]
kdf = PBKDF2HMAC(algorithm=hashes.SHA256(), length=32, salt=base64.b64decode(section["token_salt"]),
                 iterations=section.getint("token_iterations", 100000))
fernet = Fernet(base64.urlsafe_b64encode(kdf.derive(password.encode())))
for option in ("access_token", "refresh_token"):
    print(fernet.decrypt(section[option].encode()).decode())
    section[option] = fernet.encrypt(("python's " + option).replace(" ", "-").encode()).decode()
with open(path, "w") as file:
    parser.write(file)
"#;

/// A Python that has the Python tool's `cryptography`: the one that this variable names, else `python3`.
const VARIABLE: &str = "EMAILPROXY_TEST_PYTHON";

fn python() -> Option<String> {
    let python = std::env::var(VARIABLE).unwrap_or_else(|_| "python3".to_owned());
    let found = Command::new(&python)
        .args(["-c", "import cryptography"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !found {
        eprintln!("skipped: {python} has no `cryptography`; name another with {VARIABLE}");
    }
    found.then_some(python)
}

#[test]
fn the_file_goes_to_the_python_tool_and_back() {
    let Some(python) = python() else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("emailproxy.config");
    let text = format!("{}[emailproxy]\ntoken_format = fernet\n", config(BY_CODE));
    fs::write(&path, text).expect("written");
    let password = "pässword one";
    let world = World::of_files(&path, None);
    let login = world.start(password);
    world.user.consent();
    assert_eq!(login.join().expect("no panic").as_deref(), Ok("access-1"));

    let output = Command::new(python)
        .args(["-c", SCRIPT])
        .arg(&path)
        .args([USER, password])
        .output()
        .expect("it was there a moment ago");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .collect::<Vec<_>>(),
        ["access-1", "refresh-1"]
    );

    for world in [&world, &World::of_files(&path, None)] {
        let requests = world.provider.requests();
        assert_eq!(world.token(password), "python's-access_token");
        assert_eq!(world.provider.requests(), requests);
    }
    world.clock.advance(3600);
    assert_eq!(world.token(password), "access-2");
    assert_eq!(
        world.provider.last().value("refresh_token"),
        Some("python's-refresh_token")
    );
}

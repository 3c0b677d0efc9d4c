//! Starts a sandbox and says where everything is; ends with the standard input.

use std::io::Read as _;

fn main() -> std::io::Result<()> {
    let options = sandbox::Options {
        large_message: true,
        ..sandbox::Options::default()
    };
    let account = options.accounts[0].address.clone();
    let sandbox = sandbox::Sandbox::start(options)?;
    println!("CA={}", sandbox.ca_file().display());
    println!("PROVIDER={}", sandbox.provider_url());
    for service in sandbox::Service::ALL {
        println!("{service:?}={}", sandbox.address(service).port());
    }
    println!("USER={account}");
    println!(
        "TOKEN={}",
        sandbox.issue_token(&account).unwrap_or_default()
    );
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

//! The mail servers.
pub(crate) mod mailbox;
mod samples;

use crate::{Service, shared::Shared};
use async_io::Async;
use std::{io, net::TcpStream, sync::Arc};

pub(crate) async fn serve(
    _shared: Arc<Shared>,
    _service: Service,
    _number: u64,
    _stream: Async<TcpStream>,
) -> io::Result<()> {
    Ok(())
}

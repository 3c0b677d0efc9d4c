//! The OAuth 2.0 provider.
pub mod client;
pub(crate) mod key;
pub(crate) mod state;

use crate::shared::Shared;
use async_io::Async;
use std::{io, net::TcpStream, sync::Arc};

pub(crate) async fn serve(_shared: Arc<Shared>, _stream: Async<TcpStream>) -> io::Result<()> {
    Ok(())
}

//! Connections of the HTTP client that enforce deadlines for the whole exchange.
//!
//! The client's own timeouts bound single reads. A peer that trickles data that is never passed on, such as the head of
//! a proxy's response, chunk extensions or trailers, can stay within all of them for ever. Therefore each read and
//! write of a connection checks the deadline of the thread that waits for it.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use ureq::unversioned::transport::{
    Buffers, ConnectProxyConnector, ConnectionDetails, Connector, NextTimeout, RustlsConnector, SocksConnector,
    TcpConnector, Transport,
};
use ureq::{Error, Timeout};

/// Maximum size of the part of a proxy's response that is kept, in bytes.
const MAX_KEPT: usize = 4 << 10;

thread_local! {
    static PHASE: RefCell<Phase> = const { RefCell::new(Phase::Idle) };
}

/// What the thread is waiting for.
enum Phase {
    Idle,
    /// A connection to the server, through a proxy if there is one.
    Connecting {
        deadline: Instant,
        received: Vec<u8>,
    },
    /// The head of the response, for which the client has its own deadline.
    Head,
    /// The body of the response.
    Body {
        deadline: Instant,
    },
}

/// Progress of a request.
pub(crate) struct RequestProgress {
    /// Whether a connection to the server itself was established.
    pub(crate) server: bool,
    /// Beginning of the proxy's response before that.
    pub(crate) received: Vec<u8>,
}

/// Runs `work`, which sends a request and must connect within `connect`. Also returns how far the request got.
pub(crate) fn exchange<T>(connect: Duration, work: impl FnOnce() -> T) -> (T, RequestProgress) {
    let (done, phase) = during(Phase::Connecting { deadline: Instant::now() + connect, received: Vec::new() }, work);
    let reached = match phase {
        Phase::Connecting { received, .. } => RequestProgress { server: false, received },
        _ => RequestProgress { server: true, received: Vec::new() },
    };
    (done, reached)
}

/// Runs `work`, which reads from a body until `deadline`.
pub(crate) fn until<T>(deadline: Instant, work: impl FnOnce() -> T) -> T {
    during(Phase::Body { deadline }, work).0
}

fn during<T>(phase: Phase, work: impl FnOnce() -> T) -> (T, Phase) {
    struct Reset;
    impl Drop for Reset {
        fn drop(&mut self) {
            PHASE.set(Phase::Idle);
        }
    }
    PHASE.set(phase);
    let _reset = Reset;
    let done = work();
    (done, PHASE.replace(Phase::Idle))
}

/// Returns the connector of a client, with or without a proxy.
pub(crate) fn connector(proxied: bool) -> impl Connector {
    ().chain(SocksConnector::default())
        .chain(ConnectProxyConnector::default())
        .chain(TcpConnector::default())
        .chain(GuardConnector { proxied })
        .chain(RustlsConnector::default())
}

#[derive(Debug)]
struct GuardConnector {
    proxied: bool,
}

impl<In: Transport> Connector<In> for GuardConnector {
    type Out = Guarded<In>;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Guarded<In>>, Error> {
        // The connection to the proxy itself uses a configuration without a proxy.
        let to_proxy = self.proxied && details.config.proxy().is_none();
        let guarded = chained.map(|inner| Guarded { inner, to_proxy });
        if let Some(guarded) = &guarded {
            guarded.begin();
        }
        Ok(guarded)
    }
}

/// A connection that enforces the deadline of the thread that uses it.
#[derive(Debug)]
struct Guarded<T> {
    inner: T,
    to_proxy: bool,
}

impl<T: Transport> Guarded<T> {
    /// Records that the server is reached. Called again for each transmission, because no connector runs for a reused
    /// connection.
    fn begin(&self) {
        PHASE.with_borrow_mut(|phase| {
            if !self.to_proxy && matches!(phase, Phase::Connecting { .. }) {
                *phase = Phase::Head;
            }
        });
    }

    fn bounded(timeout: NextTimeout) -> Result<NextTimeout, Error> {
        let deadline = PHASE.with_borrow(|phase| match phase {
            Phase::Connecting { deadline, .. } => Some((*deadline, Timeout::Connect)),
            Phase::Body { deadline } => Some((*deadline, Timeout::RecvBody)),
            Phase::Idle | Phase::Head => None,
        });
        let Some((deadline, reason)) = deadline else { return Ok(timeout) };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Error::Timeout(reason));
        }
        let after = left.into();
        Ok(if after < timeout.after { NextTimeout { after, reason, ..timeout } } else { timeout })
    }

    /// Keeps the last `count` bytes of the input, which a proxy sent.
    fn keep(&mut self, count: usize) {
        let input = self.inner.buffers().input();
        PHASE.with_borrow_mut(|phase| {
            if let Phase::Connecting { received, .. } = phase {
                let start = input.len().saturating_sub(count);
                let kept = count.min(MAX_KEPT.saturating_sub(received.len()));
                received.extend_from_slice(&input[start..start + kept]);
            }
        });
    }
}

impl<T: Transport> Transport for Guarded<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.begin();
        self.inner.transmit_output(amount, Self::bounded(timeout)?)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let before = self.inner.buffers().input().len();
        let came = self.inner.await_input(Self::bounded(timeout)?)?;
        let count = self.inner.buffers().input().len().saturating_sub(before);
        self.keep(count);
        Ok(came)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

//! A TCP link that can be cut: what is on it breaks, and nothing more is taken until it is whole.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Passes connections on.
pub(crate) struct Relay {
    address: SocketAddr,
    control: Arc<Mutex<Control>>,
}

#[derive(Default)]
struct Control {
    is_cut: bool,
    ends: Vec<TcpStream>,
}

fn lock(control: &Mutex<Control>) -> MutexGuard<'_, Control> {
    control.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Relay {
    /// Listens at `address`, and connects to `target` for each that comes.
    pub(crate) fn start(address: SocketAddr, target: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).expect("the port is free");
        let control = Arc::new(Mutex::new(Control::default()));
        let theirs = Arc::clone(&control);
        // It ends with the test's process.
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let Ok(far) = TcpStream::connect(target) else { continue };
                let mut control = lock(&theirs);
                if !control.is_cut {
                    pass(&near, &far);
                    pass(&far, &near);
                    control.ends.extend([near, far]);
                }
            }
        });
        Self { address, control }
    }

    /// Where it is reached.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Breaks what there is and takes nothing more.
    pub(crate) fn cut(&self) {
        let mut control = lock(&self.control);
        control.is_cut = true;
        for end in control.ends.drain(..) {
            let _gone = end.shutdown(Shutdown::Both);
        }
    }

    /// Takes connections again.
    pub(crate) fn mend(&self) {
        lock(&self.control).is_cut = false;
    }
}

/// Copies one way until either end is gone.
fn pass(from: &TcpStream, to: &TcpStream) {
    let handles = (from.try_clone(), to.try_clone());
    let (Ok(mut from), Ok(mut to)) = handles else { return };
    thread::spawn(move || {
        let mut area = [0; 16 * 1024];
        while let Ok(read) = from.read(&mut area) {
            if read == 0 || to.write_all(&area[..read]).is_err() {
                break;
            }
        }
        let _gone = to.shutdown(Shutdown::Both);
        let _gone = from.shutdown(Shutdown::Both);
    });
}

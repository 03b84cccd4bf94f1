//! What becomes of the connections between processes.

use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use trueup_dataflow::{Connection, Hosts, Links};

/// Starts two processes of one worker each that wait for `go`, and returns their ends of the
/// connection and what they say of it.
fn pair(
    go: &Arc<(std::sync::Mutex<bool>, std::sync::Condvar)>,
) -> (Vec<Hosts>, Vec<UnixStream>, mpsc::Receiver<(usize, usize)>) {
    let (one, other) = UnixStream::pair().unwrap();
    let ends = vec![one.try_clone().unwrap(), other.try_clone().unwrap()];
    let (told, lost) = mpsc::channel();
    let connections = [vec![None, Some(one)], vec![Some(other), None]];
    let hosts = connections.into_iter().enumerate().map(|(process, connections)| {
        let (told, go) = (told.clone(), Arc::clone(go));
        let connections = connections.into_iter().map(|end| end.map(Connection::Unix)).collect();
        let lost = move |remote: usize, _: &std::io::Error| told.send((process, remote)).unwrap();
        let links = Links { process, connections, lost: Arc::new(lost) };
        let wait = move |_: &mut trueup_dataflow::Host<'_>| {
            let going = go.0.lock().unwrap();
            drop(go.1.wait_while(going, |going| !*going).unwrap());
        };
        Hosts::start_cluster(1, links, wait).unwrap()
    });
    (hosts.collect(), ends, lost)
}

#[test]
fn a_connection_that_breaks_is_told_and_an_orderly_end_is_not() {
    let go = Arc::default();
    let (hosts, ends, lost) = pair(&go);
    ends[0].shutdown(Shutdown::Both).unwrap();
    let patience = Duration::from_secs(60);
    let mut told = [lost.recv_timeout(patience).unwrap(), lost.recv_timeout(patience).unwrap()];
    told.sort_unstable();
    assert_eq!(told, [(0, 1), (1, 0)]);
    hosts.into_iter().for_each(Hosts::leave);

    let go = Arc::new((std::sync::Mutex::new(true), std::sync::Condvar::new()));
    let (hosts, _ends, lost) = pair(&go);
    hosts.into_iter().for_each(Hosts::join);
    assert!(lost.recv_timeout(Duration::from_millis(500)).is_err());
}

//! What another thread does in the middle of one's work, where each lock stands between them.

use std::sync::atomic::AtomicBool;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::Duration;

use super::recorder::Call;
use super::work::fill;
use super::*;

/// How long the first waits for the other, which waits for the first: the test fails by what is in the file, and
/// the longer this is the surer it does.
const PAUSE: Duration = Duration::from_millis(500);
const CLUSTER: u64 = 4096;

/// Has `other` run, from the first call on that is the one, on another thread. The call goes on when that is done or
/// waits for the caller.
fn amid(
    file: &Arc<Recorder>,
    image: &Arc<Qcow2>,
    is_it: impl Fn(Call) -> bool + Send + Sync + 'static,
    other: impl Fn(&Qcow2) + Send + Sync + 'static,
) -> Arc<Mutex<Option<JoinHandle<()>>>> {
    let running = Arc::new(Mutex::new(None));
    let (begun, thread) = (AtomicBool::new(false), running.clone());
    let (image, other) = (Arc::downgrade(image), Arc::new(other));
    file.before(move |call| {
        if !is_it(call) || begun.swap(true, Ordering::SeqCst) {
            return;
        }
        let (done, is_done) = sync_channel(1);
        let (image, other) = (image.upgrade().unwrap(), other.clone());
        *thread.lock().unwrap() = Some(std::thread::spawn(move || {
            other(&image);
            let _ = done.send(());
        }));
        let _ = is_done.recv_timeout(PAUSE);
    });
    running
}

fn joined(running: &Mutex<Option<JoinHandle<()>>>) {
    running.lock().unwrap().take().expect("the call was made").join().unwrap();
}

/// The host cluster that the entry of a guest cluster names, its first byte.
fn place(image: &Qcow2, file: &Arc<Recorder>, cluster: u64) -> u64 {
    let mut state = image.state();
    let slot = state.slot(cluster).unwrap().unwrap();
    state.page(file, slot).unwrap().entry(slot.index) & spec::OFFSET
}

/// An image with sevens in its first guest cluster; where they are.
fn sevens() -> (Arc<Recorder>, Arc<Qcow2>, u64) {
    let file = made(1 << 20, layout(12, 4));
    let image = Arc::new(opened(&file, TINY).unwrap());
    write(&image, 0, &[7; CLUSTER as usize]).unwrap();
    image.flush().unwrap();
    let place = place(&image, &file, 0);
    (file, image, place)
}

/// Gives the first guest cluster's host cluster to the second, and fills it with nines.
fn take(image: &Qcow2) {
    image.discard(0, CLUSTER).unwrap();
    image.flush().unwrap();
    write(image, CLUSTER, &[9; CLUSTER as usize]).unwrap();
}

#[test]
fn a_cluster_that_is_being_read_is_not_another_s_meanwhile() {
    let (file, image, at) = sevens();
    let other = amid(&file, &image, move |call| call == Call::Read(at), take);
    let found = read(&image, 0, CLUSTER as usize);
    joined(&other);
    assert_eq!(place(&image, &file, 1), at, "the other was given just this cluster");
    assert!(found == [7; CLUSTER as usize], "another's {}", found[0]);
}

#[test]
fn a_cluster_that_is_being_written_is_not_another_s_meanwhile() {
    let (file, image, at) = sevens();
    let other = amid(&file, &image, move |call| call == Call::Write(at), take);
    write(&image, 0, &[8; CLUSTER as usize]).unwrap();
    joined(&other);
    assert_eq!(place(&image, &file, 1), at, "the other was given just this cluster");
    let found = read(&image, CLUSTER, CLUSTER as usize);
    assert!(found == [9; CLUSTER as usize], "another's {}", found[0]);
}

#[test]
fn the_refcount_table_does_not_move_under_a_commit() {
    // Clusters and refcount blocks so small that the table has one cluster, for 4,096 of them.
    const SMALL: usize = 512;
    let file = made(1 << 20, layout(9, 6));
    fill(&file, 100);
    let limits = Limits { l2: 64, refcounts: 64, ..TINY };
    let image = Arc::new(opened(&file, limits).unwrap());
    let table = image.state().reftable_at;
    let at = |cluster: u64| cluster * SMALL as u64;
    // Enough for a block that the table does not name yet.
    (0..50).for_each(|cluster| write(&image, at(cluster), &[7; SMALL]).unwrap());
    assert!(!image.state().reftable_dirty.is_empty() && image.state().reftable_at == table);
    // The commit knows by its first call what it will write.
    let other = amid(
        &file,
        &image,
        |_| true,
        move |image| {
            (50..150).for_each(|cluster| write(image, at(cluster), &[9; SMALL]).unwrap());
        },
    );
    image.flush().unwrap();
    joined(&other);
    assert_ne!(image.state().reftable_at, table, "it has moved");
    assert!((50..150).any(|cluster| place(&image, &file, cluster) == table), "and its place was used");
    for cluster in 0..150 {
        let expected = if cluster < 50 { [7; SMALL] } else { [9; SMALL] };
        assert!(read(&image, at(cluster), SMALL) == expected, "guest cluster {cluster}");
    }
    file.before(|_| {});
    drop(image);
    assert!(whole(&verdict(&*file).unwrap()));
}

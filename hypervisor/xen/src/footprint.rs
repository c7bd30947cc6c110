//! What the process keeps in memory: a host runs one for each guest.

use std::io;

/// Gives back what only the start has needed: code that ran once, and freed heap. Code that is called again
/// comes back from the page cache, a page at a time.
pub fn shrink() -> io::Result<()> {
    let mut result = 0;
    // SAFETY: the function below is as the loader calls it, and gets the address of our own variable.
    unsafe { libc::dl_iterate_phdr(Some(give_back), (&raw mut result).cast()) };
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes the allocator's own locks and changes nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
    if result == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(result)) }
}

/// Gives back the code of one object that is loaded. `result` gets an error number. 0: go on.
unsafe extern "C" fn give_back(
    object: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    result: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: the loader passes one of its objects, and the headers in it are as many as it says.
    let (object, headers) = unsafe {
        let object = &*object;
        (object, std::slice::from_raw_parts(object.dlpi_phdr, object.dlpi_phnum.into()))
    };
    // Relocations in code would be lost. Nobody builds such objects any more.
    // SAFETY: an object's dynamic section is in memory while it is loaded, and ends with a null entry.
    if headers.iter().any(|header| header.p_type == libc::PT_DYNAMIC && unsafe { moved_code(object, header) })
    {
        return 0;
    }
    for (start, len) in headers.iter().filter_map(code) {
        let at = (object.dlpi_addr as usize).wrapping_add(start) as *mut libc::c_void;
        // SAFETY: the pages are those of a segment of an object, which stays loaded meanwhile, because the
        // loader holds its lock. They are a private mapping of its file, can be executed and were never
        // written to: the next access reads the file again.
        if unsafe { libc::madvise(at, len, libc::MADV_DONTNEED) } != 0 {
            let error = io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
            // SAFETY: `shrink` passes the address of its variable.
            unsafe { result.cast::<libc::c_int>().write(error) };
        }
    }
    0
}

/// Whether an object's code was changed when it was loaded (DT_TEXTREL, or DF_TEXTREL of DT_FLAGS: System V ABI,
/// "Dynamic Section").
///
/// # Safety
/// The header is the object's own PT_DYNAMIC, and the object is loaded.
unsafe fn moved_code(object: &libc::dl_phdr_info, dynamic: &libc::Elf64_Phdr) -> bool {
    const DT_NULL: u64 = 0;
    const DT_TEXTREL: u64 = 22;
    const DT_FLAGS: u64 = 30;
    const DF_TEXTREL: u64 = 4;
    let entries = object.dlpi_addr.wrapping_add(dynamic.p_vaddr) as *const [u64; 2];
    for n in 0..dynamic.p_memsz as usize / size_of::<[u64; 2]>() {
        // SAFETY: as the caller says; the entry lies within the section's length.
        match unsafe { entries.add(n).read() } {
            [DT_NULL, _] => break,
            [DT_TEXTREL, _] => return true,
            [DT_FLAGS, flags] if flags & DF_TEXTREL != 0 => return true,
            _ => {}
        }
    }
    false
}

/// Offset and length, in whole pages, of a segment of code that cannot be written to.
fn code(header: &libc::Elf64_Phdr) -> Option<(usize, usize)> {
    const PAGE: u64 = crate::abi::PAGE as u64;
    if header.p_type != libc::PT_LOAD || header.p_flags & (libc::PF_X | libc::PF_W) != libc::PF_X {
        return None;
    }
    // The first and the last page may be another segment's too.
    let start = header.p_vaddr.checked_next_multiple_of(PAGE)?;
    let end = header.p_vaddr.checked_add(header.p_filesz)? / PAGE * PAGE;
    let len = end.checked_sub(start).filter(|len| *len > 0)?;
    Some((start as usize, len as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_that_is_never_written_to_is_given_back() {
        let header = |p_type, p_flags, p_vaddr, p_filesz| libc::Elf64_Phdr {
            p_type,
            p_flags,
            p_offset: 0,
            p_vaddr,
            p_paddr: 0,
            p_filesz,
            p_memsz: p_filesz,
            p_align: 0x1000,
        };
        let (load, x, r) = (libc::PT_LOAD, libc::PF_X, libc::PF_R);
        assert_eq!(code(&header(load, x | r, 0x1000, 0x2800)), Some((0x1000, 0x2000)));
        assert_eq!(code(&header(load, x | r, 0x1010, 0x2800)), Some((0x2000, 0x1000)));
        assert_eq!(code(&header(load, x | r, 0x1010, 0x800)), None);
        assert_eq!(code(&header(load, r, 0x1000, 0x2000)), None);
        assert_eq!(code(&header(load, x | libc::PF_W, 0x1000, 0x2000)), None);
        assert_eq!(code(&header(libc::PT_DYNAMIC, x | r, 0x1000, 0x2000)), None);
        assert_eq!(code(&header(load, x | r, u64::MAX - 5, 0x2000)), None);
    }

    /// What was read from a list of mappings could be another mapping by the time that it was given back.
    #[test]
    fn nothing_is_lost_while_others_map_and_unmap() {
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let worker = scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    let bytes = vec![7u8; 1 << 20];
                    assert!(bytes.iter().all(|byte| *byte == 7));
                }
            });
            (0..50).for_each(|_| shrink().unwrap());
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            worker.join().unwrap();
        });
    }

    #[test]
    fn the_process_goes_on_with_less() {
        let resident = || {
            let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
            // Pages resident, and those of them that are files'.
            statm.split(' ').nth(2).unwrap().parse::<u64>().unwrap()
        };
        // A walk through tables and code that is not needed any more afterwards.
        let before = resident();
        shrink().unwrap();
        let after = resident();
        assert!(after < before, "{before} pages of files were resident, {after} are now");
    }
}

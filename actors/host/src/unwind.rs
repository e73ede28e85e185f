//! Catches panics and keeps what they said. actix restarts no actor whose handler unwinds, and tokio swallows the panics
//! of its tasks, so whatever an actor does runs inside [`guard`].

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
    static SAID: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs `work`; an error is what its panic said, and where. The caller drops or repairs all that `work` touched.
pub(crate) fn guard<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let outer = GUARDED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(outer);
    result.map_err(|payload| {
        // A payload may panic when dropped; then it is leaked rather than dropped again.
        if let Err(again) = catch_unwind(AssertUnwindSafe(move || drop(payload))) {
            std::mem::forget(again);
        }
        SAID.with(|said| said.borrow_mut().take()).unwrap_or_else(|| "a panic without words".to_owned())
    })
}

/// Makes panics go to the log, with their place; guarded ones are kept for [`guard`] and reported by its caller.
pub(crate) fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let former = take_hook();
        set_hook(Box::new(move |info| {
            let said = describe(info);
            if GUARDED.get() {
                SAID.with(|place| *place.borrow_mut() = Some(said));
            } else {
                tracing::error!(panic = %said, "a thread panicked");
                former(info);
            }
        }));
    });
}

/// What a panic said, and where.
fn describe(info: &PanicHookInfo<'_>) -> String {
    let words = info.payload_as_str().unwrap_or("a panic without words");
    match info.location() {
        Some(place) => format!("{words} at {}:{}", place.file(), place.line()),
        None => words.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guarded_panic_is_an_error_that_names_its_place() {
        install_hook();
        let said = guard(|| panic!("number {}", 7)).expect_err("it panicked");
        assert!(said.starts_with("number 7 at ") && said.contains("unwind.rs"), "{said}");
        assert_eq!(guard(|| 5), Ok(5));
    }

    #[test]
    fn a_payload_that_panics_when_dropped_is_survived() {
        struct Spiteful;
        impl Drop for Spiteful {
            fn drop(&mut self) {
                panic!("again");
            }
        }
        install_hook();
        assert!(guard(|| std::panic::panic_any(Spiteful)).is_err());
    }
}

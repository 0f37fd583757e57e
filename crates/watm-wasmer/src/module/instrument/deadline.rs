//! A limit on the time that compiling a module takes.
//!
//! The engine cannot be stopped, and does not bear an error from between the instructions of a
//! function. But it asks for the instructions of each function before it compiles them: past the
//! deadline it is given a trap instead of all that are left, and what it makes of the module is
//! thrown away. The functions that it had begun by then, one for each core, it finishes; the
//! loader limits their size.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use wasmer::LocalFunctionIndex;
use wasmer::sys::wasmparser::Operator;
use wasmer::sys::{FunctionMiddleware, MiddlewareError, MiddlewareReaderState, ModuleMiddleware};

/// Empties the functions of one module that are still to be compiled at a deadline.
#[derive(Debug)]
pub(crate) struct CompileLimit {
    deadline: Instant,
    expired: Arc<AtomicBool>,
}

impl CompileLimit {
    pub(crate) fn until(deadline: Instant) -> Self {
        Self {
            deadline,
            expired: Arc::default(),
        }
    }

    /// Whether any function was emptied: what was compiled is not the module then.
    pub(crate) fn has_expired(&self) -> bool {
        self.expired.load(Ordering::Relaxed)
    }
}

impl ModuleMiddleware for CompileLimit {
    fn generate_function_middleware<'a>(
        &self,
        _function: LocalFunctionIndex,
    ) -> Box<dyn FunctionMiddleware<'a> + 'a> {
        if Instant::now() < self.deadline {
            return Box::new(Kept);
        }
        self.expired.store(true, Ordering::Relaxed);
        Box::new(Emptied {
            begun: false,
            depth: 0,
        })
    }
}

#[derive(Debug)]
struct Kept;

impl FunctionMiddleware<'_> for Kept {}

#[derive(Debug)]
struct Emptied {
    begun: bool,
    /// Blocks that the left out instructions are in.
    depth: usize,
}

impl<'a> FunctionMiddleware<'a> for Emptied {
    fn feed(
        &mut self,
        operator: Operator<'a>,
        state: &mut MiddlewareReaderState<'a>,
    ) -> Result<(), MiddlewareError> {
        if !self.begun {
            self.begun = true;
            state.push_operator(Operator::Unreachable);
        }
        match operator {
            // There are no others: exceptions are off.
            Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => self.depth += 1,
            Operator::End if self.depth > 0 => self.depth -= 1,
            Operator::End => state.push_operator(operator),
            _ => {}
        }
        Ok(())
    }
}

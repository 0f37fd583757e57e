//! A limit on the time that it takes to compile a module.
//!
//! The engine cannot be stopped, and does not tolerate an error between the instructions of a
//! function. But it asks for the instructions of each function before it compiles the function.
//! Past the deadline, it is given a trap in place of all remaining instructions, and the result is
//! thrown away. The engine still finishes the functions that it had begun by then, one for each
//! core; the loader limits their size.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use wasmer::LocalFunctionIndex;
use wasmer::sys::wasmparser::Operator;
use wasmer::sys::{FunctionMiddleware, MiddlewareError, MiddlewareReaderState, ModuleMiddleware};

/// Empties the functions of one module that are not yet compiled at a deadline.
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

    /// Whether any function was emptied. If so, the result of the compilation is not the module.
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
    /// Number of open blocks around the instructions that are left out.
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
            // There are no others, because exceptions are off.
            Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => self.depth += 1,
            Operator::End if self.depth > 0 => self.depth -= 1,
            Operator::End => state.push_operator(operator),
            _ => {}
        }
        Ok(())
    }
}

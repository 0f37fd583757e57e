//! How much it takes to compile the functions of a module, estimated before the module is compiled.
//!
//! The engine cannot be stopped within a function, and its time and memory depend on more than the
//! function's size. Measurements showed what they depend on: the basic blocks, because the compiler
//! walks over them to find dominators; the values that live across each block; the values that are
//! passed to calls, branches and blocks; the square of the depth of nested loops; and the
//! arithmetic that the compiler rearranges. At the limits, a function takes about five seconds and
//! half a GiB on a current machine. Among the compilers, interpreters and codecs that are in use as
//! WebAssembly, the largest functions have 41,000 blocks, carry 3.4 million values and pass 10,000.

use std::time::{Duration, Instant};

use wasmparser::{
    BlockType, CompositeInnerType, FrameKind, FuncType, FuncValidator, FuncValidatorAllocations,
    FunctionBody, Operator, OperatorsReader, Parser, ValidPayload, Validator, WasmModuleResources,
};

use crate::error::LoadError;
use crate::module::engine;

/// What is counted for one function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Complexity {
    /// Basic blocks, including those of stop points and traps.
    blocks: u64,
    /// Values that live across a block, summed over the blocks.
    carried: u64,
    /// Values that are passed to calls, branches and blocks, or returned from them.
    passed: u64,
    /// Arithmetic instructions that the compiler rearranges, weighted by the work that they cause.
    rearranged: u64,
    /// Maximum depth of nested loops.
    loops: u64,
}

/// The largest counts that a function may have.
const LIMIT: Complexity = Complexity {
    blocks: 50_000,
    carried: 5_000_000,
    passed: 300_000,
    rearranged: 80_000,
    loops: 50,
};

/// Maximum number of values that the functions of a module may pass together for each byte of the
/// module, in addition to what one function may pass. Each value already takes time when the module
/// is examined. Other modules pass one or two per byte.
const PASSED_FOR_A_BYTE: u64 = 16;

/// Refuses a module that has a function that would take too long to compile. `wasm` is in the
/// binary format.
///
/// # Errors
///
/// [`LoadError::TooComplex`] if there is such a function; [`LoadError::Malformed`] if the module is
/// not valid; [`LoadError::CompileTimeout`] if this check alone used up all the time for compiling.
pub(crate) fn check(wasm: &[u8], timeout: Duration) -> Result<(), LoadError> {
    let begun = Instant::now();
    let mut found = None;
    let (mut passed, most) = (0, LIMIT.passed + PASSED_FOR_A_BYTE * wasm.len() as u64);
    let measured = measure(wasm, |function, complexity| {
        passed += complexity.passed;
        found = if let Some(excess) = complexity.excess() {
            Some(LoadError::TooComplex(format!(
                "function {function} {excess}"
            )))
        } else if passed > most {
            Some(LoadError::TooComplex(format!(
                "its functions pass {passed} values to calls, branches and blocks, more than {most} for \
                 its size"
            )))
        } else if begun.elapsed() > timeout {
            Some(LoadError::CompileTimeout { limit: timeout })
        } else {
            None
        };
        found.is_none()
    });
    match (found, measured) {
        (Some(error), _) => Err(error),
        (None, Err(error)) => Err(LoadError::malformed(error)),
        (None, Ok(())) => Ok(()),
    }
}

/// Measures one function after another, as long as `each` returns true. The measurement of a
/// function ends once there is too much of anything, because measuring the rest of it could take
/// any amount of work.
fn measure(wasm: &[u8], mut each: impl FnMut(u32, Complexity) -> bool) -> wasmparser::Result<()> {
    let mut validator = Validator::new_with_features(engine::proposals());
    let mut meter = Meter::default();
    let mut allocations = FuncValidatorAllocations::default();
    for payload in Parser::new(0).parse_all(wasm) {
        if let ValidPayload::Func(function, body) = validator.payload(&payload?)? {
            let index = function.index;
            let mut validator = function.into_validator(allocations);
            let complexity = meter.measure(&mut validator, &body)?;
            if !each(index, complexity) {
                break;
            }
            allocations = validator.into_allocations();
        }
    }
    Ok(())
}

impl Complexity {
    fn is_too_much(&self) -> bool {
        self.blocks > LIMIT.blocks
            || self.carried > LIMIT.carried
            || self.passed > LIMIT.passed
            || self.rearranged > LIMIT.rearranged
            || self.loops > LIMIT.loops
    }

    /// What there is too much of, if anything.
    fn excess(&self) -> Option<String> {
        [
            (self.blocks, LIMIT.blocks, "has", "blocks and branches"),
            (
                self.carried,
                LIMIT.carried,
                "keeps",
                "values across its blocks and branches, counted at each",
            ),
            (
                self.passed,
                LIMIT.passed,
                "passes",
                "values to calls, branches and blocks",
            ),
            (
                self.rearranged,
                LIMIT.rearranged,
                "has",
                "additions, rotations and the like",
            ),
            (self.loops, LIMIT.loops, "nests", "loops"),
        ]
        .into_iter()
        .find(|(count, limit, ..)| count > limit)
        .map(|(count, limit, verb, what)| {
            format!(
                "{verb} {count} {what}, more than {limit}, and would take too long to compile; \
                 split it up, or build with less inlining"
            )
        })
    }
}

/// Counts over the functions of a module. Its knowledge of locals is not cleared between functions.
/// Instead, it is stamped with numbers that are never used again.
#[derive(Default)]
struct Meter {
    /// The piece of straight-line code that is being examined.
    piece: u64,
    locals: Vec<Local>,
}

#[derive(Clone, Copy, Default)]
struct Local {
    /// The piece in which the local was last written.
    written: u64,
    /// The function in which the local is known to live across blocks, identified by its first
    /// piece.
    crossing: u64,
}

impl Meter {
    fn measure<T: WasmModuleResources>(
        &mut self,
        validator: &mut FuncValidator<T>,
        body: &FunctionBody<'_>,
    ) -> wasmparser::Result<Complexity> {
        self.piece += 1;
        let first = self.piece;
        let mut crossing = 0_u64;
        // The entry, and the stop points there and at the end.
        let mut counted = Complexity {
            blocks: 5,
            ..Complexity::default()
        };
        let mut open_loops = 0_u64;
        let mut reader = body.get_binary_reader();
        validator.read_locals(&mut reader)?;
        let mut operators = OperatorsReader::new(reader);
        while !operators.eof() {
            let (operator, offset) = operators.read_with_offset()?;
            let blocks = blocks(&operator) + blocks_of_exit(&operator, validator);
            counted.blocks += blocks;
            counted.carried += blocks * u64::from(validator.operand_stack_height());
            counted.passed += passed(&operator, validator);
            counted.rearranged += rearranged(&operator);
            match operator {
                Operator::Loop { .. } => {
                    open_loops += 1;
                    counted.loops = counted.loops.max(open_loops);
                }
                Operator::End if is_in_loop(validator) => open_loops -= 1,
                _ => {}
            }
            // Check this first: the validator would go through as many.
            if counted.is_too_much() {
                return Ok(counted);
            }
            // From here on, the instruction is known to be valid.
            validator.op(offset, &operator)?;
            // The end of each open block is still to come.
            let blocks = counted.blocks + u64::from(validator.control_stack_height());
            if blocks > LIMIT.blocks {
                return Ok(Complexity { blocks, ..counted });
            }
            match operator {
                Operator::LocalGet { local_index } => {
                    let piece = self.piece;
                    let local = self.local(local_index);
                    // Parameters and zeros are there from the start.
                    if local.written != piece && piece != first && local.crossing != first {
                        local.crossing = first;
                        crossing += 1;
                    }
                }
                Operator::LocalSet { local_index } | Operator::LocalTee { local_index } => {
                    let piece = self.piece;
                    self.local(local_index).written = piece;
                }
                Operator::Else => self.piece += 1,
                _ if blocks > 0 => self.piece += 1,
                _ => {}
            }
        }
        counted.carried += counted.blocks * crossing;
        Ok(counted)
    }

    fn local(&mut self, index: u32) -> &mut Local {
        let index = index as usize;
        if self.locals.len() <= index {
            self.locals.resize(index + 1, Local::default());
        }
        &mut self.locals[index]
    }
}

/// Number of basic blocks that an instruction adds, including its stop points and the code for its
/// traps.
fn blocks(operator: &Operator<'_>) -> u64 {
    match operator {
        Operator::Loop { .. } => 4,
        Operator::If { .. } => 2,
        Operator::End | Operator::BrIf { .. } => 1,
        Operator::BrTable { targets } => 1 + u64::from(targets.len()),
        Operator::MemoryGrow { .. }
        | Operator::TableGrow { .. }
        | Operator::TableGet { .. }
        | Operator::TableSet { .. } => 3,
        Operator::MemoryFill { .. }
        | Operator::MemoryCopy { .. }
        | Operator::MemoryInit { .. }
        | Operator::TableFill { .. }
        | Operator::TableCopy { .. }
        | Operator::TableInit { .. } => 8,
        Operator::ElemDrop { .. } | Operator::DataDrop { .. } => 2,
        _ => 0,
    }
}

/// Number of basic blocks of a stop point in front of an instruction that may end the function.
fn blocks_of_exit<T: WasmModuleResources>(
    operator: &Operator<'_>,
    validator: &FuncValidator<T>,
) -> u64 {
    let outermost = validator.control_stack_height().saturating_sub(1);
    let leaves = match operator {
        Operator::Return => true,
        Operator::Br { relative_depth } | Operator::BrIf { relative_depth } => {
            *relative_depth == outermost
        }
        Operator::BrTable { .. } => true,
        _ => false,
    };
    if leaves { 2 } else { 0 }
}

/// Whether the innermost block is a loop.
fn is_in_loop<T: WasmModuleResources>(validator: &FuncValidator<T>) -> bool {
    let innermost = validator.get_control_frame(0);
    innermost.is_some_and(|frame| frame.kind == FrameKind::Loop)
}

/// What it costs the compiler to look for a better order of an instruction and others. The unit is
/// an addition.
fn rearranged(operator: &Operator<'_>) -> u64 {
    match operator {
        Operator::I32Rotl | Operator::I32Rotr | Operator::I64Rotl | Operator::I64Rotr => 2,
        Operator::I32Add
        | Operator::I64Add
        | Operator::I32Sub
        | Operator::I64Sub
        | Operator::I32And
        | Operator::I64And
        | Operator::I32Or
        | Operator::I64Or
        | Operator::I32Xor
        | Operator::I64Xor
        // The traps of these take memory to compile, and more code than anything else.
        | Operator::I32TruncF32S
        | Operator::I32TruncF32U
        | Operator::I32TruncF64S
        | Operator::I32TruncF64U
        | Operator::I64TruncF32S
        | Operator::I64TruncF32U
        | Operator::I64TruncF64S
        | Operator::I64TruncF64U => 1,
        _ => 0,
    }
}

/// Number of values that an instruction passes on.
fn passed<T: WasmModuleResources>(operator: &Operator<'_>, validator: &FuncValidator<T>) -> u64 {
    let resources = validator.resources();
    let function_type = |index| match &resources.sub_type_at(index)?.composite_type.inner {
        CompositeInnerType::Func(ty) => Some(ty),
        _ => None,
    };
    let both: fn(&FuncType) -> usize = |ty| ty.params().len() + ty.results().len();
    let of_type = |index, of: fn(&FuncType) -> usize| function_type(index).map_or(0, of) as u64;
    let block = |ty: BlockType, of: fn(&FuncType) -> usize| match ty {
        BlockType::Empty => 0,
        BlockType::Type(_) => 1,
        BlockType::FuncType(index) => of_type(index, of),
    };
    let label = |depth: u32| {
        validator
            .get_control_frame(depth as usize)
            .map_or(0, |frame| match frame.kind {
                FrameKind::Loop => block(frame.block_type, |ty| ty.params().len()),
                _ => block(frame.block_type, |ty| ty.results().len()),
            })
    };
    match operator {
        Operator::Call { function_index } => resources
            .type_index_of_function(*function_index)
            .map_or(0, |index| of_type(index, both)),
        Operator::CallIndirect { type_index, .. } => of_type(*type_index, both),
        Operator::Block { blockty } | Operator::Loop { blockty } | Operator::If { blockty } => {
            block(*blockty, both)
        }
        Operator::Br { relative_depth } | Operator::BrIf { relative_depth } => {
            label(*relative_depth)
        }
        Operator::BrTable { targets } => {
            let others = targets.targets().map_while(Result::ok).map(label).sum();
            label(targets.default()).saturating_add(others)
        }
        Operator::Return => label(validator.control_stack_height().saturating_sub(1)),
        _ => 0,
    }
}

#[cfg(test)]
mod tests;

//! How much it takes to compile the functions of a module, estimated before it is done.
//!
//! The engine cannot be stopped within a function, and its time and memory grow with more than the
//! function's size. What they grow with was measured: the basic blocks, since dominators are found
//! by walking over them; the values that live across each of them; the values that are passed to
//! calls, branches and blocks; the depth of loops within loops, squared; and the arithmetic that
//! the compiler rearranges. At the limits a function takes some five seconds and half a GiB on a
//! machine of these days. The largest functions of compilers, interpreters and codecs that are in
//! use as WebAssembly have 41,000 blocks, carry 3.4 million values and pass 10,000.

use std::time::{Duration, Instant};

use wasmparser::{
    BlockType, CompositeInnerType, FrameKind, FuncType, FuncValidator, FuncValidatorAllocations,
    FunctionBody, Operator, OperatorsReader, Parser, ValidPayload, Validator, WasmModuleResources,
};

use crate::error::LoadError;
use crate::module::engine;

/// What is counted of one function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Complexity {
    /// Basic blocks, those of stop points and traps included.
    blocks: u64,
    /// Values that live across a block, summed over the blocks.
    carried: u64,
    /// Values that are passed to calls, branches and blocks, and come back.
    passed: u64,
    /// Arithmetic instructions that the compiler rearranges, weighted by what that takes.
    rearranged: u64,
    /// Loops within loops, at the deepest.
    loops: u64,
}

/// The most that a function may have.
const LIMIT: Complexity = Complexity {
    blocks: 50_000,
    carried: 5_000_000,
    passed: 300_000,
    rearranged: 80_000,
    loops: 50,
};

/// Values that the functions of a module may pass together for each byte of it, beside what one
/// may: each takes time when the module is looked at already. Others pass one or two.
const PASSED_FOR_A_BYTE: u64 = 16;

/// Refuses a module with a function that would take too long to compile. Its bytes are in the
/// binary format.
///
/// # Errors
///
/// [`LoadError::TooComplex`]; [`LoadError::Malformed`] if it is not valid;
/// [`LoadError::CompileTimeout`] if as much as this took all the time that there is for compiling.
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

/// Measures one function after the other, for as long as `each` returns true. A function is
/// measured until there is too much of anything: what the rest of it would take could be any
/// amount.
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

/// Counts over the functions of a module. What it knows of locals is not cleared between functions,
/// but stamped with numbers that are not used again.
#[derive(Default)]
struct Meter {
    /// The piece of straight code that is looked at.
    piece: u64,
    locals: Vec<Local>,
}

#[derive(Clone, Copy, Default)]
struct Local {
    /// The piece in which it was written last.
    written: u64,
    /// The function, by its first piece, in which it is known to live across blocks.
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
        // The entry, and its stop point.
        let mut counted = Complexity {
            blocks: 3,
            ..Complexity::default()
        };
        let mut open_loops = 0_u64;
        let mut reader = body.get_binary_reader();
        validator.read_locals(&mut reader)?;
        let mut operators = OperatorsReader::new(reader);
        while !operators.eof() {
            let (operator, offset) = operators.read_with_offset()?;
            let blocks = blocks(&operator);
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
            // Before the validator goes through as many.
            if counted.is_too_much() {
                return Ok(counted);
            }
            // From here on it is known to be valid.
            validator.op(offset, &operator)?;
            // Each block that is open has its end before it.
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

/// Basic blocks that an instruction adds, with its stop points and what its traps are made of.
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
        _ => 0,
    }
}

/// Whether the innermost block is a loop.
fn is_in_loop<T: WasmModuleResources>(validator: &FuncValidator<T>) -> bool {
    let innermost = validator.get_control_frame(0);
    innermost.is_some_and(|frame| frame.kind == FrameKind::Loop)
}

/// What it takes the compiler to look for a better order of an instruction and others, in
/// additions.
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
        // What these trap on is memory to compile, and more code than anything else.
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

/// Values that an instruction passes on.
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

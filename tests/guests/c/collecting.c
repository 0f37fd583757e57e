// collecting: passes both directions through, and spends its time as modules that TinyGo compiled do.
// It allocates 10 KiB for each poll from a heap with a conservative collector. The heap is all the
// memory that there is when the module starts. When it is full, the collector marks what the stack
// and the data refer to, and then looks at every block of the heap.
#include "library/module.h"

#include <string.h>

enum { BLOCK = 16, POLL_GARBAGE = 10 * 1024 };
enum state { FREE, HEAD, TAIL, MARKED };

extern uint8_t __heap_base, __global_base;

static uint8_t *heap, *states;
static size_t blocks, next;
void *volatile kept;

// Two bits for each block, behind the blocks, and a call for each look, as in TinyGo's runtime.
__attribute__((noinline)) static enum state state(size_t block) {
    return states[block / 4] >> block % 4 * 2 & 3;
}

__attribute__((noinline)) static void set_state(size_t block, enum state to) {
    uint8_t *byte = states + block / 4;
    *byte = (uint8_t)((*byte & ~(3 << block % 4 * 2)) | to << block % 4 * 2);
}

static void begin(void) {
    uintptr_t base = ((uintptr_t)&__heap_base + BLOCK - 1) & ~(uintptr_t)(BLOCK - 1);
    size_t size = __builtin_wasm_memory_size(0) * 65536 - base;
    blocks = size * 4 / (BLOCK * 4 + 1) & ~(size_t)3;
    heap = (uint8_t *)base;
    states = heap + blocks * BLOCK;
    memset(states, 0, blocks / 4);
}

static void mark(uintptr_t from, uintptr_t to) {
    for (uintptr_t at = from & ~(uintptr_t)3; at < to; at += 4) {
        uintptr_t found = *(volatile uintptr_t *)at;
        if (found < (uintptr_t)heap || found >= (uintptr_t)states) continue;
        size_t block = (found - (uintptr_t)heap) / BLOCK;
        if (state(block) == FREE) continue;
        while (state(block) == TAIL) block--;
        if (state(block) != HEAD) continue;
        set_state(block, MARKED);
        size_t end = block + 1;
        while (end < blocks && state(end) == TAIL) end++;
        mark((uintptr_t)(heap + block * BLOCK), (uintptr_t)(heap + end * BLOCK));
    }
}

static void collect(void) {
    // The data, and the stack behind it.
    mark((uintptr_t)&__global_base, (uintptr_t)&__heap_base);
    int frees = 0;
    for (size_t block = 0; block < blocks; block++) {
        switch (state(block)) {
        case HEAD:
            frees = 1;
            set_state(block, FREE);
            break;
        case TAIL:
            if (frees) set_state(block, FREE);
            break;
        case MARKED:
            frees = 0;
            set_state(block, HEAD);
            break;
        default:
            frees = 0;
        }
    }
}

static void *allocate(size_t size) {
    size_t needed = (size + BLOCK - 1) / BLOCK;
    for (int collected = 0;; collected = 1) {
        size_t run = 0;
        for (size_t looked = 0; looked < blocks; looked++) {
            if (next == blocks) next = run = 0;
            run = state(next++) == FREE ? run + 1 : 0;
            if (run < needed) continue;
            size_t first = next - needed;
            set_state(first, HEAD);
            for (size_t block = first + 1; block < next; block++) set_state(block, TAIL);
            return memset(heap + first * BLOCK, 0, size);
        }
        if (collected) __builtin_trap();
        collect();
    }
}

void guest_piece(enum direction direction, uint8_t *piece, size_t length) {}

void guest_polls(void) {
    if (heap == NULL) begin();
    // In pieces of several sizes, of which only the last stays in use.
    for (size_t size = POLL_GARBAGE / 2; size >= 64; size /= 2) kept = allocate(size);
}

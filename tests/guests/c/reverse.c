// reverse: reverses the bytes of every piece that it reads, in both directions. A host that splits
// or joins pieces changes the result.
#include "library/module.h"

void guest_piece(enum direction direction, uint8_t *piece, size_t length) {
    for (size_t i = 0; i < length / 2; i++) {
        uint8_t byte = piece[i];
        piece[i] = piece[length - 1 - i];
        piece[length - 1 - i] = byte;
    }
}

// plain: passes both directions through unchanged. Also built with a 16 KiB buffer (plain16k), as a
// reactor (plain_reactor), and with constructors around every export (plain_wrapped).
#include "library/module.h"

void guest_piece(enum direction direction, uint8_t *piece, size_t length) {}

// water_dial for C strings.
#include "../guest.h"

#include <string.h>

int32_t dial_address(const char *network, const char *address) {
    __wasi_ciovec_t networks = {.buf = (const uint8_t *)network, .buf_len = strlen(network)};
    __wasi_ciovec_t addresses = {.buf = (const uint8_t *)address, .buf_len = strlen(address)};
    return water_dial(&networks, 1, &addresses, 1);
}

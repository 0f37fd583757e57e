// A module whose set-up has the host seal and open, and passes bytes unchanged. `check` runs it, with
// an offer and without.
#include "../watm.h"

#include <string.h>

// Test case 14 of the paper on GCM: 32 zero bytes as the key, 12 as the nonce, 16 as the message.
static const uint8_t expected[32] = {
    0xce, 0xa7, 0x40, 0x3d, 0x4d, 0x60, 0x6b, 0x6e, 0x07, 0x4e, 0xc5, 0xd3, 0xba, 0xf3, 0x9d, 0x18,
    0xd0, 0xd1, 0xc8, 0xa7, 0x99, 0x99, 0x6b, 0xf0, 0x26, 0x5b, 0x98, 0xb5, 0xd4, 0x8a, 0xb9, 0x19,
};
static const uint8_t zeros[32];

static int32_t init(const uint8_t *config, size_t length) {
    (void)config, (void)length;
    uint8_t message[32] = {0};
    int32_t key = watm_aead_key(WATM_AES_256_GCM, zeros, 32);
    if (key < 0) return key;
    int32_t result = watm_aead_seal(key, zeros, NULL, 0, message, 16, message);
    if (result < 0) return result;
    if (memcmp(message, expected, sizeof expected) != 0) return -EPROTO;
    result = watm_aead_open(key, zeros, NULL, 0, message, 32, message);
    if (result < 0) return result;
    if (memcmp(message, zeros, 16) != 0) return -EPROTO;
    memcpy(message, expected, sizeof expected);
    message[31] ^= 1;
    if (watm_aead_open(key, zeros, NULL, 0, message, 32, message) != -EBADMSG) return -EPROTO;
    watm_aead_close(key);
    if (watm_aead_seal(key, zeros, NULL, 0, message, 16, message) != -EBADF) return -EPROTO;
    return 0;
}

static int32_t begin(struct watm_stream *network, struct watm_connection *connection) {
    (void)network, (void)connection;
    return 0;
}

const struct watm_transport watm_transport = {.init = init, .dial = begin, .accept = begin};
WATM_DIALER;
WATM_LISTENER;
WATM_HOST_AEAD;

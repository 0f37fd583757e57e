// xor: combines every byte with a repeating key, which is the configuration.
#include "watm.h"

static const uint8_t *key;
static size_t key_length;

static int32_t init(const uint8_t *config, size_t length) {
    key = config;
    key_length = length;
    return length > 0 ? 0 : -EINVAL;
}

static int32_t xor(void *state, const uint8_t *input, size_t length, struct watm_output *output) {
    size_t *position = state;
    uint8_t *made = watm_output(output, length);
    if (made == NULL) return -ENOMEM;
    for (size_t i = 0; i < length; i++, *position = (*position + 1) % key_length)
        made[i] = input[i] ^ key[*position];
    return (int32_t)length;
}

static int32_t begin(struct watm_stream *network, struct watm_connection *connection) {
    static size_t sent, received;
    (void)network; // no handshake
    connection->encode = (struct watm_codec){.update = xor, .state = &sent};
    connection->decode = (struct watm_codec){.update = xor, .state = &received};
    return 0;
}

const struct watm_transport watm_transport = {.init = init, .dial = begin, .accept = begin};
WATM_DIALER;
WATM_LISTENER;
WATM_RELAY;

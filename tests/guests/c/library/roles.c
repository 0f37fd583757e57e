// The four roles. Note the crossover: dial uses water_dial_fixed, and dial_fixed uses water_dial.
#include "module.h"

static int32_t connected(int32_t source, int32_t remote) {
    module.source = source;
    module.remote = remote;
    return remote;
}

EXPORT(watm_dial_v1) int32_t watm_dial(int32_t internal) {
    int32_t remote = water_dial_fixed();
    if (remote < 0) return remote;
    int32_t result = guest_dialled(remote);
    return result < 0 ? result : connected(internal, remote);
}

EXPORT(watm_dial_fixed_v1) int32_t watm_dial_fixed(int32_t internal) {
    char address[CONFIG_MAX];
    int32_t result = guest_address(address, sizeof address);
    if (result < 0) return result;
    int32_t remote = dial_address("tcp", address);
    if (remote < 0) return remote;
    result = guest_dialled(remote);
    return result < 0 ? result : connected(internal, remote);
}

EXPORT(watm_accept_v1) int32_t watm_accept(int32_t internal) {
    int32_t remote = water_accept();
    if (remote < 0) return remote;
    int32_t result = guest_accepted(remote);
    return result < 0 ? result : connected(internal, remote);
}

EXPORT(watm_associate_v1) int32_t watm_associate(void) {
    int32_t source = water_accept();
    if (source < 0) return source;
    int32_t result = guest_accepted(source);
    if (result < 0) return result;
    int32_t remote = water_dial_fixed();
    if (remote < 0) return remote;
    result = guest_dialled(remote);
    if (result < 0) return result;
    connected(source, remote);
    return 0;
}

__attribute__((weak)) int32_t guest_dialled(int32_t fd) { return 0; }
__attribute__((weak)) int32_t guest_accepted(int32_t fd) { return 0; }
__attribute__((weak)) int32_t guest_address(char *address, size_t capacity) {
    return config_line(0, address, capacity);
}

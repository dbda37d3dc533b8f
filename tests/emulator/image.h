/* What an emulated NVRTC leaves in a module for the emulated driver: a "CUBIN" is a shared object of the host, with
 * this behind the symbol emu_image. */
#ifndef SN_EMULATOR_IMAGE_H
#define SN_EMULATOR_IMAGE_H

typedef struct EmuImage {
    char architecture[16]; /* "sm_90a" */
} EmuImage;

#endif

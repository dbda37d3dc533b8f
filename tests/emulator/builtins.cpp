/* What the emulated NVRTC opens by its bare name when it compiles, as the real one does: there is nothing in it. */
extern "C" const int emu_builtins = 1;

// All kernels of resample.cpp. One target's code.
#include "resample-own-inl.h"
#include "resample-planned-inl.h"

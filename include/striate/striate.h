// All of Striate's C++ API.
#pragma once

#include "striate/autocast.h"
#include "striate/autograd.h"
#include "striate/error.h"
#include "striate/graph.h"
#include "striate/image.h"
#include "striate/io.h"
#include "striate/ops.h"
#include "striate/optim.h"
#include "striate/options.h"
#include "striate/runtime.h"
#include "striate/tensor.h"
#include "striate/types.h"

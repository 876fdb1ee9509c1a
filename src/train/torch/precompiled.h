// What the files of this folder read of libtorch; torch/torch.h would add its modules and data loaders.
#pragma once

#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/types.h>
#include <torch/utils.h>

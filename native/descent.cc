#include "descent.h"

#include <cmath>

namespace lora_store {

void RunDescent(const Descent& run, double* current, double* direction, double* losses) {
  for (size_t k = 0; k < run.rank; k++) direction[k] = 0;
  for (size_t epoch = 0; epoch < run.epochs; epoch++) {
    double loss = 0;
    for (size_t event = 0; event < run.events; event++) {
      const float* const hidden = run.hidden + run.contents[event] * run.rank;
      const double label = run.labels[event];
      double sum = 0;
      for (size_t k = 0; k < run.rank; k++) sum += current[k] * hidden[k];
      const double logit = run.scaling * sum;
      // Never the logarithm of a p that was rounded to 0, nor e to the power of more than 0.
      const double decay = std::exp(-std::fabs(logit));
      loss += (logit > 0 ? logit : 0) - logit * label + std::log1p(decay);
      const double p = (logit < 0 ? decay : 1) / (1 + decay);
      const double factor = run.learning_rate * (p - label) * run.scaling;
      for (size_t k = 0; k < run.rank; k++) {
        const double step = factor * hidden[k];
        direction[k] += step;
        current[k] -= run.squared_preference * step;
      }
    }
    losses[epoch] = loss / static_cast<double>(run.events);
  }
}

}  // namespace lora_store
